"""The command line: ``aoi``."""

from aoi_events.cli.app import main
from aoi_events.cli.run import worker_process

__all__ = ["main", "worker_process"]
