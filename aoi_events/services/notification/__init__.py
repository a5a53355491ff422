"""The notification worker."""
