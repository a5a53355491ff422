"""The deadlines worker."""
