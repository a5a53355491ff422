"""The client for Application Servers: send notifications, and follow their delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import dataclass
from typing import Final

from aoi_events.contracts.answers import (
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
)
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import AoiError, InfrastructureError, RequestTimeout
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.ports.broker import Broker
from aoi_events.publishing.events import EventStream, checked_kinds
from aoi_events.publishing.pipeline import in_order
from aoi_events.publishing.requests import (
    DEFAULT_TTL,
    cancel_request,
    send_request,
    status_request,
)
from aoi_events.publishing.server_rpc import DEFAULT_TIMEOUT, ServerRpc, checked_timeout
from aoi_events.publishing.waiting import TargetState, wait_until
from aoi_events.publishing.watching import NotificationWatches

MAX_RETRIES: Final = 10
MAX_WINDOW: Final = 1_000


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of one request of :meth:`Publisher.send_many`: an answer, or an error."""

    request: SendNotificationV1
    answer: NotificationAcceptedV1 | None = None
    error: AoiError | None = None

    def accepted(self) -> NotificationAcceptedV1:
        """The answer. Raises the error if there is none."""
        if self.error is not None:
            raise self.error
        if self.answer is None:
            raise AssertionError("a request was either answered or met an error")
        return self.answer


class Publisher(ServerRpc):
    """An Application Server's connection to an AOI Server.

    ``broker`` is a URL (see :func:`aoi_events.broker.open.open_broker`) or an open broker, which
    the caller closes; the broker's user is the sender to whom the notification IDs belong.
    ``timeout`` in seconds is the default time to wait for an answer. Open it with ``async with``;
    any number of tasks may use it at once.

    Each request raises RequestRefused with the server's stable code; RequestTimeout if no answer
    came; BrokerUnavailable if the connection was lost before the answer; PublishRefused if no queue
    took it (does an AOI Server run?); UnexpectedAnswer; RuntimeError if this is not open. After a
    timeout or a lost connection the request may or may not have taken effect: repeat it with the
    same notification ID and the same content, and it takes effect once.
    """

    def __init__(self, broker: str | Broker, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        super().__init__(broker, timeout=timeout)
        self._watches: NotificationWatches | None = None
        self._streams: set[EventStream] = set()

    async def close(self) -> None:
        """End waits and event streams, and disconnect. Idempotent; ``async with`` does it."""
        streams, self._streams = self._streams, set()
        await asyncio.gather(*(stream.aclose() for stream in streams))
        if self._watches is not None:
            await self._watches.close()
        await super().close()

    @property
    def sender(self) -> str:
        """The broker's user, to whom the notifications belong."""
        return self._broker.user

    async def send(
        self,
        tokens: str | Iterable[str],
        content: Content | str | bytes,
        *,
        notification: str | None = None,
        ttl: int = DEFAULT_TTL,
        urgency: Urgency | str = Urgency.NORMAL,
        topic: str | None = None,
        content_type: str | None = None,
        mode: Mode | str | None = None,
        hedge_after: float | None = None,
        timeout: float | None = None,
        retries: int = 0,
    ) -> NotificationAcceptedV1:
        """Send one content to one Application Client Token or up to 1,000.

        See :func:`aoi_events.publishing.send_request` for the arguments that make the request.
        The answer names the notification's ID, each token that was accepted (it will end in exactly
        one terminal state) and each that was rejected, with its code. If none was accepted, the
        server stores nothing, and the ID can be used again. ``timeout`` in seconds bounds each try;
        ``retries`` (0 to 10) is how often a request without an answer is repeated under the same
        ID, after a growing pause.
        """
        request = send_request(
            tokens,
            content,
            notification=notification,
            ttl=ttl,
            urgency=urgency,
            topic=topic,
            content_type=content_type,
            mode=mode,
            hedge_after=hedge_after,
        )
        return await self._send(request, timeout, _policy(retries))

    async def send_many(
        self,
        requests: Iterable[SendNotificationV1] | AsyncIterable[SendNotificationV1],
        *,
        window: int = 100,
        timeout: float | None = None,
        retries: int = 0,
    ) -> AsyncGenerator[Sent, None]:
        """Send requests (see ``send_request``), up to ``window`` (1 to 1,000) of them under way.

        Yields a result for each, in order, with errors as values: a refused request does not stop
        the others. When the iteration stops, no further request is sent.
        """
        if not 1 <= window <= MAX_WINDOW:
            raise ValueError(f"window is from 1 to {MAX_WINDOW}, not {window}")
        policy = _policy(retries)

        async def one(request: SendNotificationV1) -> Sent:
            try:
                return Sent(request, answer=await self._send(request, timeout, policy))
            except AoiError as error:
                return Sent(request, error=error)

        async for sent in in_order(requests, one, window=window):
            yield sent

    async def cancel(
        self, notification: str, *, timeout: float | None = None
    ) -> NotificationCancelledV1:
        """Cancel the deliveries of a notification that are not delivered yet.

        An ID that was never sent is accepted, too: if its request arrives later, it is refused
        (``cancelled``).
        """
        request = cancel_request(notification)
        return await self._ask(request, NotificationCancelledV1, timeout=timeout)

    async def status(
        self,
        notification: str,
        *,
        delivery: str | None = None,
        timeout: float | None = None,
    ) -> NotificationStatusV1:
        """The state and the hops of each delivery, or of one ``delivery``.

        For more than :data:`~aoi_events.contracts.answers.MAX_STORIES` deliveries the answer has
        only their states (``stories`` is false); name one delivery to get its hops. Raises
        RequestRefused (``not_found``).
        """
        request = status_request(notification, delivery)
        return await self._ask(request, NotificationStatusV1, timeout=timeout)

    async def wait(
        self,
        notification: str,
        state: DeliveryState | str = DeliveryState.DELIVERED,
        *,
        timeout: float = 30.0,
    ) -> NotificationStatusV1:
        """Wait until every delivery of a notification is in ``state``, and return the status.

        ``state`` is a DeliveryState, its name, or ``terminal`` for any end. Raises EndedOtherwise
        as soon as a delivery ended in another state; WaitTimeout after ``timeout`` seconds;
        RequestRefused (``not_found``) for an ID that was not sent, or of which no token was
        accepted. A lost connection does not end the wait.
        """
        target = TargetState.of(state)
        status_request(notification)
        if self._watches is None:
            self._watches = NotificationWatches(self._broker)
        return await wait_until(
            notification,
            target,
            watches=self._watches,
            ask=lambda: self.status(notification),
            timeout=checked_timeout(timeout),
        )

    def events(self, kinds: str | Iterable[str] = "notification.*") -> EventStream:
        """A stream of the events about this sender's notifications; see :class:`EventStream`.

        ``kinds`` are of :data:`aoi_events.contracts.events.EVENT_KINDS`, or all of one subject
        (``notification.*``). Enter the stream with ``async with`` *before* sending, to see all.
        """
        stream = EventStream(self._broker, checked_kinds(kinds), closed=self._streams.discard)
        self._streams.add(stream)
        return stream

    async def _send(
        self, request: SendNotificationV1, timeout: float | None, policy: RetryPolicy | None
    ) -> NotificationAcceptedV1:
        async def once() -> NotificationAcceptedV1:
            return await self._ask(request, NotificationAcceptedV1, timeout=timeout)

        if policy is None:
            return await once()
        return await retry(once, policy=policy, on=(RequestTimeout, InfrastructureError))


def _policy(retries: int) -> RetryPolicy | None:
    """The policy for so many repeats; None for no repeat."""
    if not 0 <= retries <= MAX_RETRIES:
        raise ValueError(f"retries are from 0 to {MAX_RETRIES}, not {retries}")
    if retries == 0:
        return None
    return RetryPolicy(first=0.2, most=5.0, jitter=0.2, attempts=retries + 1)
