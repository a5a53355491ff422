"""A broker connection that asks: what Publisher and DeviceRequests have in common."""

from __future__ import annotations

import asyncio
import math
from typing import Final, TypeVar

from aoi_events.broker.open import open_broker
from aoi_events.contracts.answers import AnyAnswer
from aoi_events.contracts.requests import REQUESTS, AnyRequest
from aoi_events.ports.broker import Broker, Outbound, Requester
from aoi_events.publishing.answers import read_answer
from aoi_events.topology import REQUESTS as REQUESTS_EXCHANGE

__all__ = ["DEFAULT_TIMEOUT", "Session", "checked_timeout"]

DEFAULT_TIMEOUT: Final = 10.0
"""Seconds to wait for an answer, where the caller says nothing else."""

_ROUTING_KEYS: Final = {contract: key for key, contract in REQUESTS.items()}

A = TypeVar("A", bound=AnyAnswer)


class Session:
    """Asks over direct reply-to.

    Opens a broker of its own for a URL, and closes only what it opened.
    """

    def __init__(self, broker: str | Broker, *, name: str, timeout: float) -> None:
        self._given = broker
        self._name = name
        self._timeout = checked_timeout(timeout)
        self._broker: Broker | None = None
        self._requester: Requester | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def broker(self) -> Broker:
        """The connection. Raises RuntimeError before it was opened, and after it was closed."""
        if self._broker is None:
            raise self._not_open()
        return self._broker

    async def open(self) -> None:
        """Connect. Opening twice changes nothing; what was closed stays closed."""
        async with self._opening:
            if self._closed:
                raise RuntimeError(f"this {self._name} was closed; make another")
            if self._requester is not None:
                return
            given = self._given
            if isinstance(given, str):
                given = await open_broker(given, name=f"aoi {self._name}")
            try:
                self._requester = await given.requester()
            except BaseException:
                if given is not self._given:
                    await given.close()
                raise
            self._broker = given

    async def close(self) -> None:
        """Give the reply address up, and disconnect where the connection is ours. Idempotent."""
        async with self._opening:
            self._closed = True
            requester, self._requester = self._requester, None
            broker, self._broker = self._broker, None
        try:
            if requester is not None:
                await requester.close()
        finally:
            if broker is not None and broker is not self._given:
                await broker.close()

    async def ask(
        self, request: AnyRequest, expected: type[A], *, timeout: float | None = None
    ) -> A:
        """The answer to ``request``, within ``timeout`` seconds.

        Raises RequestRefused, RequestTimeout, PublishRefused, BrokerUnavailable, UnexpectedAnswer.
        """
        requester = self._requester
        if requester is None:
            raise self._not_open()
        within = self._timeout if timeout is None else checked_timeout(timeout)
        message = Outbound(
            exchange=REQUESTS_EXCHANGE,
            routing_key=_ROUTING_KEYS[type(request)],
            body=request.encode(),
        )
        return read_answer(await requester.call(message, timeout=within), expected)

    def _not_open(self) -> RuntimeError:
        how = "was closed" if self._closed else "is not open: use `async with`, or await open()"
        return RuntimeError(f"this {self._name} {how}")


def checked_timeout(seconds: float) -> float:
    """``seconds``, if one can wait that long. Raises ValueError."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"a timeout is a number of seconds above 0, not {seconds}")
    return seconds
