"""RPC to an AOI Server over the broker, shared by Publisher and DeviceRequests."""

from __future__ import annotations

import asyncio
import math
from typing import Final, TypeVar

from aoi_events.broker.open import open_broker
from aoi_events.contracts.answers import AnyAnswer
from aoi_events.contracts.requests import AnyRequest
from aoi_events.platform.worker_rpc import WorkerRpc
from aoi_events.ports.broker import Broker

DEFAULT_TIMEOUT: Final = 10.0
"""Default seconds to wait for an answer."""

A = TypeVar("A", bound=AnyAnswer)


class ServerRpc:
    """Sends requests over direct reply-to, and returns their answers.

    For a URL it opens a broker of its own; it closes only what it opened.
    """

    def __init__(self, broker: str | Broker, *, name: str, timeout: float) -> None:
        self._source = broker
        self._name = name
        self._timeout = checked_timeout(timeout)
        self._broker: Broker | None = None
        self._rpc: WorkerRpc | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def broker(self) -> Broker:
        """The connection. Raises RuntimeError before `open` and after `close`."""
        if self._broker is None:
            raise self._not_open()
        return self._broker

    async def open(self) -> None:
        """Connect. Idempotent; it cannot be opened again after `close`."""
        async with self._opening:
            if self._closed:
                raise RuntimeError(f"this {self._name} was closed; make another")
            if self._rpc is not None:
                return
            given = self._source
            if isinstance(given, str):
                given = await open_broker(given, name=f"aoi {self._name}")
            try:
                self._rpc = WorkerRpc(await given.requester(), timeout=self._timeout)
            except BaseException:
                if given is not self._source:
                    await given.close()
                raise
            self._broker = given

    async def close(self) -> None:
        """Release the reply address, and disconnect from an own broker. Idempotent."""
        async with self._opening:
            self._closed = True
            rpc, self._rpc = self._rpc, None
            broker, self._broker = self._broker, None
        try:
            if rpc is not None:
                await rpc.close()
        finally:
            if broker is not None and broker is not self._source:
                await broker.close()

    async def ask(
        self, request: AnyRequest, expected: type[A], *, timeout: float | None = None
    ) -> A:
        """The answer to ``request``, within ``timeout`` seconds.

        Raises RequestRefused, RequestTimeout, PublishRefused, BrokerUnavailable, UnexpectedAnswer.
        """
        if self._rpc is None:
            raise self._not_open()
        within = None if timeout is None else checked_timeout(timeout)
        return await self._rpc.ask(request, expected, timeout=within)

    def _not_open(self) -> RuntimeError:
        how = "was closed" if self._closed else "is not open: use `async with`, or await open()"
        return RuntimeError(f"this {self._name} {how}")


def checked_timeout(seconds: float) -> float:
    """``seconds``, if it is a valid timeout. Raises ValueError."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"a timeout is a number of seconds above 0, not {seconds}")
    return seconds
