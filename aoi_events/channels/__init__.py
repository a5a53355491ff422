"""Notification channels: plug-ins with one anatomy, a folder each."""
