"""Builds adapters and workers from settings; no other room chooses adapters."""
