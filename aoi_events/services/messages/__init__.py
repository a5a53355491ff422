"""Shared by the workers: incoming requests, and the messages that workers publish."""
