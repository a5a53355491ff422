"""``memory://``: a broker inside this process, for trying, testing and simulating."""

from aoi_events.broker.memory.broker import MemoryBroker
from aoi_events.broker.memory.server import NOT_DURABLE, MemoryServer

__all__ = ["NOT_DURABLE", "MemoryBroker", "MemoryServer"]
