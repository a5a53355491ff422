"""Protocols of broker, store, channels, metrics and time, with the values in their signatures."""
