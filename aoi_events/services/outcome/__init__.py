"""The outcome worker."""
