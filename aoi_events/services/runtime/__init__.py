"""Shared by all workers: batches, handlers, parking and pauses."""
