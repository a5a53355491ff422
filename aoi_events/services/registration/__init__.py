"""The registration worker."""
