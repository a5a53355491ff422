"""Shared by every worker: batches, handlers, parking and pauses."""
