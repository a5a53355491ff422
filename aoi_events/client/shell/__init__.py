"""The I/O of the AOI Client: connection, storage, tasks and call-backs."""
