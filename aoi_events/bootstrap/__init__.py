"""The one place that builds adapters and workers from settings."""
