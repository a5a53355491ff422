"""``aoi demo``: the whole story in one process, with real sockets on loopback and a real SMSC."""

from aoi_events.cli.demo.command import command

__all__ = ["command"]
