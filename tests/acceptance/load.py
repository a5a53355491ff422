"""Notifications of every kind, sent while things break, and what must have come of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from aoi_events import Publisher, Sent, send_request
from aoi_events.contracts.answers import NotificationAcceptedV1
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import BrokerUnavailable, RequestTimeout
from aoi_events.platform.retry import RetryPolicy, retry
from tests.acceptance.audit import Audit
from tests.acceptance.device_pool import APPS, Device, DevicePool
from tests.acceptance.server_under_test import ServerUnderTest
from tests.support.limits import WITHIN

_UNDER_WAY: Final = 80
"""Deliveries that are open at once: what breaks then meets them."""
_EVERY: Final = 0.01
"""Seconds between two requests, at least."""
_RETRY_POLICY: Final = RetryPolicy(first=0.2, most=2.0, jitter=0.2)
_UNANSWERED: Final = (RequestTimeout, BrokerUnavailable)


@dataclass(frozen=True, slots=True)
class Addressed:
    """One delivery: to whom, what, and whether it can end in anything but *delivered*."""

    device: Device
    application: str
    content: str
    certain: bool


class Load:
    """Notifications to the devices of a pool; ``rng`` chooses which and to whom."""

    def __init__(self, pool: DevicePool, audit: Audit, rng: random.Random) -> None:
        self._pool = pool
        self._audit = audit
        self._rng = rng
        self._asked: dict[str, list[Addressed]] = {}
        self.deliveries: dict[str, Addressed] = {}
        """Every delivery that was accepted."""

    async def send(self, publisher: Publisher, *, until: asyncio.Event) -> None:
        """Send ``until`` then; each is repeated under its ID until it is answered."""
        requests = self._requests(until)
        async for sent in publisher.send_many(requests, window=40, timeout=4, retries=10):
            answer = await _accepted(publisher, sent)
            assert not answer.rejected, answer.rejected
            asked = self._asked[sent.request.notification]
            for accepted in answer.deliveries:
                self.deliveries[accepted.delivery] = asked[accepted.index]
            if sent.request.notification.startswith("cancel-"):
                await _cancel(publisher, sent.request.notification)

    async def check(self, server: ServerUnderTest, *, within: float) -> None:
        """Return once all have ended and arrived as they must; the workers have to run.

        **Promise.** Exactly one terminal state each, by events; nothing is lost; every app sees
        what is addressed to it, once, and nothing else.
        """
        try:
            await self._audit.until_settled(self.deliveries, within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self._open_rows(server)}") from None
        wanted = Counter(
            (each.device.name, each.application, each.content)
            for each in self.deliveries.values()
            if each.certain
        )
        await self._pool.until(
            lambda: not wanted - self._seen(), "every app saw what is its own", within=within
        )
        states = self._audit.states()
        for delivery, each in self.deliveries.items():
            if each.certain:
                assert states[delivery] is DeliveryState.DELIVERED, (delivery, each.content)

    async def check_in_store(self, server: ServerUnderTest) -> None:
        """The same, by the store; once no worker runs any more."""
        rows = await server.query("SELECT id, state, settled_at, published FROM deliveries")
        stored = {row["id"]: DeliveryState(row["state"]) for row in rows}
        assert stored.keys() == self.deliveries.keys()
        assert all(row["settled_at"] is not None and row["published"] for row in rows)
        await self._audit.until(
            lambda: self._audit.states() == stored, "events and store agree", within=WITHIN
        )
        addressed = Counter(
            (each.device.name, each.application, each.content) for each in self.deliveries.values()
        )
        assert not self._seen() - addressed, "somebody saw twice, or what was another's"
        assert await server.query("SELECT queue, code, reason FROM parked") == []

    async def _open_rows(self, server: ServerUnderTest) -> str:
        """What the store knows of deliveries of which no event says that they ended."""
        statement = "SELECT * FROM deliveries WHERE id = ANY(%s) LIMIT 5"
        rows = await server.query(statement, list(self.deliveries.keys() - self._audit.ends.keys()))
        return "\n".join(str(dict(row)) for row in rows)

    def _seen(self) -> Counter[tuple[str, str, str]]:
        return Counter(
            {
                (device.name, application, content): count
                for device in self._pool.devices
                for (application, content), count in device.seen.items()
            }
        )

    async def _requests(self, until: asyncio.Event) -> AsyncIterator[SendNotificationV1]:
        for number in count():
            if until.is_set():
                return
            await self._audit.until(
                lambda: len(self.deliveries.keys() - self._audit.ends.keys()) < _UNDER_WAY,
                "what was sent ends",
                within=WITHIN,
            )
            yield self._request(number)
            # No wait for anything, but a load that leaves the machine room to start processes.
            await asyncio.sleep(_EVERY)

    def _request(self, number: int) -> SendNotificationV1:
        """Most go to one app; some to several, some are large, now or never, or soon withdrawn."""
        kind = self._rng.choices(
            ("one", "several", "large", "now", "cancel"), weights=(75, 5, 10, 5, 5)
        )[0]
        devices = self._rng.sample(
            self._pool.devices, min(5, len(self._pool.devices)) if kind == "several" else 1
        )
        content = f"{kind} {number}" + " and more" * (60 if kind == "large" else 0)
        certain = kind not in ("now", "cancel")
        to = [Addressed(each, self._rng.choice(APPS), content, certain) for each in devices]
        name = f"{kind}-{number}"
        self._asked[name] = to
        return send_request(
            [each.device.tokens[each.application] for each in to],
            content,
            notification=name,
            ttl=0 if kind == "now" else 600,
        )


async def _accepted(publisher: Publisher, sent: Sent) -> NotificationAcceptedV1:
    """The answer; on a busy machine a restart can take longer than all retries of a request."""
    while isinstance(sent.error, _UNANSWERED):
        (sent,) = [each async for each in publisher.send_many([sent.request], retries=10)]
    return sent.accepted()


async def _cancel(publisher: Publisher, notification: str) -> None:
    await retry(
        lambda: publisher.cancel(notification),
        policy=_RETRY_POLICY,
        on=_UNANSWERED,
    )
