"""Shared by the workers: AOI Clients, their channels and their ends."""
