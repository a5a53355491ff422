"""RPC to an AOI Server over the broker: the base of Publisher and DeviceRequests."""

from __future__ import annotations

import asyncio
import math
from typing import Final, Self, TypeVar

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

    For a URL it opens a broker of its own; it closes only what it opened. ``timeout`` in seconds
    bounds each request.
    """

    def __init__(self, broker: str | Broker, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._source = broker
        self._timeout = checked_timeout(timeout)
        self._opened: Broker | None = None
        self._rpc: WorkerRpc | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @classmethod
    async def connect(cls, broker: str | Broker, *, timeout: float = DEFAULT_TIMEOUT) -> Self:
        """Create and open one; :meth:`close` it in the end."""
        created = cls(broker, timeout=timeout)
        await created.open()
        return created

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect; ``async with`` does it. Raises BrokerUnavailable, ConfigurationError.

        Idempotent; it cannot be opened again after :meth:`close`.
        """
        async with self._opening:
            if self._closed:
                raise RuntimeError(f"this {type(self).__name__} was closed; make another")
            if self._rpc is not None:
                return
            given = self._source
            if isinstance(given, str):
                given = await open_broker(given, name=f"aoi {type(self).__name__}")
            try:
                self._rpc = WorkerRpc(await given.requester(), timeout=self._timeout)
            except BaseException:
                if given is not self._source:
                    await given.close()
                raise
            self._opened = given

    async def close(self) -> None:
        """Disconnect. Idempotent; ``async with`` does it."""
        async with self._opening:
            self._closed = True
            rpc, self._rpc = self._rpc, None
            broker, self._opened = self._opened, None
        try:
            if rpc is not None:
                await rpc.close()
        finally:
            if broker is not None and broker is not self._source:
                await broker.close()

    @property
    def _broker(self) -> Broker:
        """The connection. Raises RuntimeError before :meth:`open` and after :meth:`close`."""
        if self._opened is None:
            raise self._not_open()
        return self._opened

    async def _ask(
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
        return RuntimeError(f"this {type(self).__name__} {how}")


def checked_timeout(seconds: float) -> float:
    """``seconds``, if it is a valid timeout. Raises ValueError."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"a timeout is a number of seconds above 0, not {seconds}")
    return seconds
