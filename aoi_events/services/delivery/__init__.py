"""Shared by the workers: first steps of plans, backlog limits, and releases."""
