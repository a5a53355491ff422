"""How a plain AMQP peer leaves a node that it cannot use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.chaos.plain_amqp import UNREACHABLE, confirmed, over_nodes


class NodeThatNeverCloses:
    """A connection whose ``close`` waits, also where it is cancelled, as aio-pika's can."""

    async def channel(self, **_: object) -> None:
        """There is none: no test here uses it."""

    async def close(self) -> None:
        """Wait until it is cancelled twice."""
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that were connected to."""
    urls: list[str] = []

    async def connect(url: str) -> Any:
        urls.append(url.partition("?")[0])
        return NodeThatNeverCloses()

    monkeypatch.setattr(aio_pika, "connect", connect)
    return urls


@pytest.mark.parametrize(
    "lost", [asyncio.CancelledError, ConnectionError, RuntimeError, TimeoutError]
)
async def test_the_next_node_is_used_where_one_is_lost(
    tried: list[str], lost: Callable[[], BaseException]
) -> None:
    """Also where aiormq cancels a call, and where the lost connection cannot be closed."""

    async def use(_: AbstractChannel) -> None:
        if len(tried) == 1:
            raise lost()

    await asyncio.wait_for(over_nodes(["one", "two"], use), 10)
    assert tried == ["one", "two"]


async def test_a_confirm_that_aiormq_cancels_is_a_lost_connection() -> None:
    """A task group would take it for the end of its task, and go on without it."""
    lost = asyncio.get_running_loop().create_future()
    lost.set_exception(asyncio.CancelledError())
    with pytest.raises(UNREACHABLE):
        await confirmed(lost)


async def test_who_is_cancelled_ends(tried: list[str]) -> None:
    """It is not taken for a lost connection."""
    used = asyncio.Event()

    async def use(_: AbstractChannel) -> None:
        used.set()
        await asyncio.Event().wait()

    using = asyncio.create_task(over_nodes(["one", "two"], use))
    await used.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(using, 10)
    assert tried == ["one"]
