"""Implementations that every room uses: retries, clock, tasks, sockets, logs, message IDs."""
