"""Requests and their answers on the in-process server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aoi_events.broker.memory.server import MemoryServer
from aoi_events.broker.pending_calls import PendingCalls
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Inbound, Outbound, Published


class MemoryRequester:
    """See :class:`aoi_events.ports.broker.Requester`."""

    def __init__(
        self,
        server: MemoryServer,
        publish: Callable[[Sequence[Outbound]], Awaitable[Sequence[Published]]],
        forget: Callable[[MemoryRequester], None],
    ) -> None:
        """``publish`` is the connection's, and so is ``forget``, which :meth:`close` calls."""
        self._server = server
        self._publish_all = publish
        self._forget = forget
        self._calls = PendingCalls()
        self._address = server.open_reply(self._calls.answered)
        self._closed = False

    async def call(self, request: Outbound, *, timeout: float) -> Inbound:
        """Publish a request and wait for its answer, ``timeout`` seconds at most."""
        if self._closed:
            raise BrokerUnavailable("this requester is closed")
        return await self._calls.call(
            request, self._publish, reply_to=self._address, timeout=timeout
        )

    async def close(self) -> None:
        """Stop waiting; calls in flight fail."""
        if not self._closed:
            self._closed = True
            self.lose()
            self._forget(self)

    def lose(self) -> None:
        """React to the loss of the connection, and of the address that answers go to."""
        self._server.close_reply(self._address)
        self._calls.fail()

    def regain(self) -> None:
        """Open a new address on the connection that replaced the lost one."""
        self._address = self._server.open_reply(self._calls.answered)

    async def _publish(self, request: Outbound) -> Published:
        (published,) = await self._publish_all([request])
        return published
