"""The worker of a connectionless channel type, one process per type."""
