"""Handing frames to the one task that writes on a connection."""

from __future__ import annotations

import asyncio

import aiormq
from aiormq.abc import ChannelFrame

from aoi_events.errors import BrokerUnavailable

__all__ = ["write"]


async def write(channel: aiormq.Channel, payload: bytes, *, drained: bool = False) -> None:
    """Queue ``payload`` for the socket; ``drained``: also wait until the socket took it.

    Cancelled before it was queued, nothing of it is ever sent. Raises BrokerUnavailable when the
    channel closes first: nobody empties the queue of a connection that is gone.
    """
    if channel.is_closed:
        raise BrokerUnavailable("the channel is closed")
    drain = channel.create_future() if drained else None
    frame = ChannelFrame(payload=payload, should_close=False, drain_future=drain)
    try:
        if channel.write_queue.full():
            await channel.create_task(channel.write_queue.put(frame))
        else:
            channel.write_queue.put_nowait(frame)
        if drain is not None:
            await drain
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerUnavailable("the channel was closed while writing") from None
    except Exception as error:
        # aiormq ends the waiting with whatever closed the channel, a bare Exception included.
        raise BrokerUnavailable(f"the channel was closed while writing: {error}") from error
