"""The network of a Linux device, and its changes (8.1.2)."""
