"""AMQP as any backend speaks it, with aio-pika alone, over whichever node can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError

UNREACHABLE: Final = (AMQPError, RuntimeError, OSError, TimeoutError)
"""What ends a connection, or an attempt to make one; RuntimeError: it was closed already."""
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
            async with _cancelled_by_us_alone():
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
                await _close(connection)


async def confirmed(publish: Awaitable[object]) -> None:
    """Wait for the confirm of a publish. Raises one of ``UNREACHABLE`` where none comes."""
    async with _cancelled_by_us_alone(), asyncio.timeout(_PATIENCE):
        await publish


@asynccontextmanager
async def _cancelled_by_us_alone() -> AsyncIterator[None]:
    """Raise ConnectionError where aiormq cancels a call because its connection was lost."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ConnectionError("the connection was lost") from None


async def _close(connection: AbstractConnection) -> None:
    """Close it, but wait for a moment only: a node that hangs holds up even a cancelled close."""
    closing = asyncio.ensure_future(connection.close())
    closing.add_done_callback(lambda closed: closed.cancelled() or closed.exception())
    try:
        await asyncio.wait([closing], timeout=_PAUSE)
    finally:
        closing.cancel()
