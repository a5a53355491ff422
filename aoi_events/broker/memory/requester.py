"""Requests with answers on the in-process server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count

from aoi_events.broker.memory.server import MemoryServer
from aoi_events.errors import BrokerUnavailable, PublishRefused, RequestTimeout
from aoi_events.ports.broker import Inbound, Outbound, Published

__all__ = ["MemoryRequester"]


class MemoryRequester:
    """See :class:`aoi_events.ports.broker.Requester`."""

    def __init__(
        self,
        server: MemoryServer,
        publish: Callable[[Sequence[Outbound]], Awaitable[Sequence[Published]]],
        forget: Callable[[MemoryRequester], None],
    ) -> None:
        """``publish`` is its connection's, which ``forget`` tells that it was closed."""
        self._server = server
        self._publish = publish
        self._forget = forget
        self._calls: dict[str, asyncio.Future[Inbound]] = {}
        self._numbers = count(1)
        self._address = server.open_reply(self._answered)
        self._closed = False

    async def call(self, request: Outbound, *, timeout: float) -> Inbound:
        """Publish a request and wait for its answer, ``timeout`` seconds at most."""
        if self._closed:
            raise BrokerUnavailable("this requester is closed")
        correlation_id = str(next(self._numbers))
        answer: asyncio.Future[Inbound] = asyncio.get_running_loop().create_future()
        self._calls[correlation_id] = answer
        try:
            async with asyncio.timeout(timeout):
                (published,) = await self._publish(
                    [
                        replace(
                            request,
                            correlation_id=correlation_id,
                            reply_to=self._address,
                            mandatory=True,
                        )
                    ]
                )
                if published is not Published.CONFIRMED:
                    raise PublishRefused(f"no queue took {request.routing_key!r}: {published}")
                return await answer
        except TimeoutError:
            raise RequestTimeout(
                f"no answer to {request.routing_key!r} within {timeout:g} s"
            ) from None
        finally:
            del self._calls[correlation_id]
            answer.cancel()

    async def close(self) -> None:
        """Stop waiting; calls under way fail."""
        self._closed = True
        self.lose()
        self._forget(self)

    def lose(self) -> None:
        """The connection is gone, and with it the address that answers go to."""
        self._server.close_reply(self._address)
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(BrokerUnavailable("the connection was lost before the answer"))

    def regain(self) -> None:
        """A new connection took the place of the one that was lost."""
        self._address = self._server.open_reply(self._answered)

    def _answered(self, message: Inbound) -> None:
        answer = self._calls.get(message.correlation_id or "")
        if answer is not None and not answer.done():
            answer.set_result(message)
