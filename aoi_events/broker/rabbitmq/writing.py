"""Frames that settle messages, and handing frames to the one task that writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import aiormq
from aiormq.abc import ChannelFrame
from pamqp import commands
from pamqp.base import Frame

from aoi_events.errors import BrokerUnavailable

__all__ = ["acks", "nacks", "rejects", "write"]


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


def acks(tags: Sequence[int], unsettled: Iterable[int]) -> list[Frame]:
    """One frame for all of ``tags`` that are older than whatever stays unsettled, one for each
    other; both are in the order of delivery.
    """
    oldest = next(iter(unsettled), tags[-1] + 1)
    run = [tag for tag in tags if tag < oldest]
    frames: list[Frame] = [commands.Basic.Ack(delivery_tag=tag) for tag in tags[len(run) :]]
    if run:
        frames.insert(0, commands.Basic.Ack(delivery_tag=run[-1], multiple=len(run) > 1))
    return frames


def rejects(tags: Sequence[int]) -> list[Frame]:
    """Give back, and count: RabbitMQ 4.3 counts these, and nacks not; before, both."""
    return [commands.Basic.Reject(delivery_tag=tag, requeue=True) for tag in tags]


def nacks(tags: Sequence[int]) -> list[Frame]:
    """Give back without blame, as far as the broker's version can."""
    return [commands.Basic.Nack(delivery_tag=tag, requeue=True) for tag in tags]
