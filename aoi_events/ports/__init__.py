"""Protocols of what lies outside: broker, store, channels, time."""
