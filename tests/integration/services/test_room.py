"""The room of a channel worker: what one URL or host makes wait takes none of it from others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.channels.base.concurrency import ConcurrencyLimit
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.platform.clock import SystemClock
from aoi_events.ports.store import Store
from aoi_events.services.channel.submissions import Known, Submissions, Work
from aoi_events.topology import topology
from tests.integration.http.test_breakers import Posting
from tests.support.receivers import Receiver, Reply
from tests.unit.channels.test_requests import delivery

PATIENCE = 0.2
SETTINGS = OutgoingSettings.model_validate(
    {"allow_http": True, "ports": [], "networks": ["127.0.0.0/8"], "within": 20.0}
)


class Impatient(Posting):
    """A channel with the limits of a webhook that loses patience ten times as fast."""

    def __init__(self) -> None:
        super().__init__("post", SETTINGS, None)
        self._limit = ConcurrencyLimit(each=8, overall=200, each_host=32, patience=PATIENCE)


@pytest.mark.parametrize("urls, at_once", [(1, 8), (500, 32)], ids=["one URL", "one host"])
@pytest.mark.parametrize("after", [PATIENCE / 2, PATIENCE * 5], ids=["moves", "is silent"])
async def test_what_is_slow_takes_no_room_from_another_host(
    empty_store: Store, urls: int, at_once: int, after: float
) -> None:
    """3,000 items are for one URL, or for the URLs of one host, that answers but is slow, or gives
    no answer for long: one item behind them, for another host, is there while the slow one has
    answered a part of its items.
    """

    async def all_wanted(
        items: Sequence[Work], now: datetime
    ) -> tuple[Sequence[Work], list[Known]]:
        return items, []

    async with Receiver(Reply(after=after)) as slow, Receiver() as honest:
        broker, channel = MemoryBroker(MemoryServer()), Impatient()
        await broker.declare(topology())
        submissions = Submissions("post", channel, empty_store, broker, SystemClock())
        items = [delivery(number, url=slow.url(f"/{number % urls}")) for number in range(3_000)]
        await submissions.submit_all(items, all_wanted)
        await submissions.submit_all([delivery(3_000, url=honest.url())], all_wanted)
        await honest.next(0)
        assert len(slow.got) < 25 * at_once
        await submissions.close()
        await channel.close()
        await broker.close()
