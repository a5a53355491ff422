"""Shared by the workers: what arrives, and what they publish."""
