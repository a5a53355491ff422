"""Shared by the workers: AOI Clients, their channels, and how they end."""
