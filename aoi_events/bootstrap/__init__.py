"""The one place that builds adapters and workers from settings."""

from aoi_events.bootstrap.installation import Installation, Worker, open_installation
from aoi_events.bootstrap.opening import declare
from aoi_events.bootstrap.settings import Settings, load_settings

__all__ = [
    "Installation",
    "Settings",
    "Worker",
    "declare",
    "load_settings",
    "open_installation",
]
