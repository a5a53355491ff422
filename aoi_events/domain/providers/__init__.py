"""Providers of channels: circuit breakers and health."""
