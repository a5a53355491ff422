"""Frames that settle messages, and the queue of frames that aiormq's writer task sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiormq
from aiormq.abc import ChannelFrame
from pamqp import commands

from aoi_events.errors import BrokerUnavailable


async def write(amqp_channel: aiormq.Channel, payload: bytes, *, drained: bool = False) -> None:
    """Enqueue ``payload`` for the socket; with ``drained``, also wait until it was sent.

    If the call is cancelled before the payload is enqueued, nothing of it is ever sent. Raises
    BrokerUnavailable when the channel closes first: the queue of a connection that is gone is
    never emptied.
    """
    if amqp_channel.is_closed:
        raise BrokerUnavailable("the channel is closed")
    drain = amqp_channel.create_future() if drained else None
    frame = ChannelFrame(payload=payload, should_close=False, drain_future=drain)
    try:
        if amqp_channel.write_queue.full():
            await amqp_channel.create_task(amqp_channel.write_queue.put(frame))
        else:
            amqp_channel.write_queue.put_nowait(frame)
        if drain is not None:
            await drain
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerUnavailable("the channel was closed while writing") from None
    except Exception as error:
        # aiormq fails the future with any error that closed the channel, a bare Exception included.
        raise BrokerUnavailable(f"the channel was closed while writing: {error}") from error


def acks(tags: Sequence[int], oldest_unsettled: int | None) -> list[commands.Basic.Ack]:
    """Acknowledge ``tags``: one frame for all that are older than ``oldest_unsettled``, and one for
    each other, in the order of delivery.
    """
    limit = tags[-1] + 1 if oldest_unsettled is None else oldest_unsettled
    run = [tag for tag in tags if tag < limit]
    frames = [commands.Basic.Ack(delivery_tag=tag) for tag in tags[len(run) :]]
    if run:
        frames.insert(0, commands.Basic.Ack(delivery_tag=run[-1], multiple=len(run) > 1))
    return frames


def nacks(tags: Sequence[int]) -> list[commands.Basic.Nack]:
    """Give messages back. RabbitMQ counts that as failed deliveries up to 4.2, and not from 4.3."""
    return [commands.Basic.Nack(delivery_tag=tag, requeue=True) for tag in tags]
