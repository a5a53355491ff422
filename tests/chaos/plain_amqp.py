"""AMQP as any backend speaks it, with aio-pika alone, over whichever node can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

UNREACHABLE: Final = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)
"""What ends a connection, or an attempt to make one."""
_PATIENCE: Final = 3.0
"""Seconds without an answer after which a peer tries the next node."""
_PAUSE: Final = 0.2


async def over_nodes(
    urls: Sequence[str], use: Callable[[AbstractChannel], Awaitable[None]]
) -> None:
    """Call ``use`` with a channel that has publisher confirms, until it returns; whenever the node
    cannot be reached, with one to the next node.
    """
    for url in cycle(urls):
        connection = None
        try:
            async with asyncio.timeout(_PATIENCE):
                connection = await aio_pika.connect(f"{url}?heartbeat=4")
                amqp_channel = await connection.channel(on_return_raises=True)
            await use(amqp_channel)
        except UNREACHABLE:
            await asyncio.sleep(_PAUSE)
        else:
            return
        finally:
            if connection is not None:
                with suppress(*UNREACHABLE):
                    await asyncio.wait_for(connection.close(), _PAUSE)


async def confirmed(publish: Awaitable[object]) -> None:
    """Wait for the confirm of a publish. Raises one of ``UNREACHABLE`` where none comes."""
    async with asyncio.timeout(_PATIENCE):
        await publish
