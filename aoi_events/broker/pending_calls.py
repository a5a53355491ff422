"""The calls of a requester that wait for their answers; both brokers use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count

from aoi_events.errors import BrokerUnavailable, PublishRefused, RequestTimeout
from aoi_events.ports.broker import Inbound, Outbound, Published


class PendingCalls:
    """Calls by correlation ID, from their publish to their answer."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._answers: dict[str, asyncio.Future[Inbound]] = {}

    async def call(
        self,
        request: Outbound,
        publish: Callable[[Outbound], Awaitable[Published]],
        *,
        reply_to: str,
        timeout: float,
    ) -> Inbound:
        """Publish ``request`` with a fresh correlation ID and wait for its answer.

        Raises as :meth:`aoi_events.ports.broker.Requester.call` does.
        """
        correlation_id = str(next(self._numbers))
        answer: asyncio.Future[Inbound] = asyncio.get_running_loop().create_future()
        self._answers[correlation_id] = answer
        try:
            async with asyncio.timeout(timeout):
                published = await publish(
                    replace(
                        request, correlation_id=correlation_id, reply_to=reply_to, mandatory=True
                    )
                )
                if published is Published.RETURNED:
                    raise PublishRefused(
                        f"no queue took {request.routing_key!r}: has an AOI Server declared its "
                        "queues there?"
                    )
                if published is Published.NACKED:
                    raise PublishRefused(
                        f"the queue of {request.routing_key!r} is full, or most of the nodes that "
                        "have it are away"
                    )
                return await answer
        except TimeoutError:
            raise RequestTimeout(
                f"no answer to {request.routing_key!r} within {timeout:g} s"
            ) from None
        finally:
            del self._answers[correlation_id]
            answer.cancel()

    def answered(self, message: Inbound) -> None:
        """Complete the call that ``message`` answers; ignore an answer that nothing waits for."""
        answer = self._answers.get(message.correlation_id or "")
        if answer is not None and not answer.done():
            answer.set_result(message)

    def fail(self) -> None:
        """Fail every call, because the connection was lost."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BrokerUnavailable("the connection was lost before the answer"))
