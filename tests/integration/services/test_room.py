"""The room of a channel worker: what one URL or host makes wait takes none of it from others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.platform.clock import SystemClock
from aoi_events.ports.store import Store
from aoi_events.services.channel.submissions import Known, Submissions, Work
from aoi_events.topology import topology
from tests.integration.http.test_breakers import Posting
from tests.support.receivers import Receiver, Reply
from tests.unit.channels.test_requests import delivery

SLOW = Reply(after=1.0)
SETTINGS = OutgoingSettings.model_validate(
    {"allow_http": True, "ports": [], "networks": ["127.0.0.0/8"], "within": 20.0}
)


@pytest.mark.parametrize("urls, at_once", [(1, 8), (500, 32)], ids=["one URL", "one host"])
async def test_what_is_slow_but_answers_takes_no_room_from_another_host(
    empty_store: Store, urls: int, at_once: int
) -> None:
    """1,200 items are for one URL, or for the URLs of one host, that takes a second for each: one
    item behind them, for another host, is there before ten for each of the slow one's slots are.
    """

    async def all_wanted(
        items: Sequence[Work], now: datetime
    ) -> tuple[Sequence[Work], list[Known]]:
        return items, []

    async with Receiver(SLOW) as slow, Receiver() as honest:
        broker, channel = MemoryBroker(MemoryServer()), Posting("post", SETTINGS, None)
        await broker.declare(topology())
        submissions = Submissions("post", channel, empty_store, broker, SystemClock())
        items = [delivery(number, url=slow.url(f"/{number % urls}")) for number in range(1_200)]
        await submissions.submit_all(items, all_wanted)
        await submissions.submit_all([delivery(1_200, url=honest.url())], all_wanted)
        await honest.next(0)
        assert len(slow.got) < 10 * at_once
        await submissions.close()
        await channel.close()
        await broker.close()
