"""The activation worker."""
