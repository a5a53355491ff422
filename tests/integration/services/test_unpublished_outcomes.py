"""Steps that were submitted, and whose outcomes could not be published."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aoi_events.broker.memory import MemoryBroker
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Inbound, Outbound, Published
from aoi_events.services.channel.handler import ProviderHandler
from aoi_events.services.channel.submissions import Submissions
from aoi_events.topology import delivery_queue, worker_queue
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.crashes import system_without
from tests.support.limits import WITHIN


async def test_what_was_submitted_is_told_again_and_not_submitted_again(
    open_system: OpenSystem,
) -> None:
    """A step is submitted once; when only its outcome could not be published, the next run submits
    nothing, nor does a copy of the worker; its outcome is published once.
    """
    system = await system_without(open_system, "scripted")
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    broker = await system.connect("aoi")
    source = await broker.subscribe(worker_queue(delivery_queue("scripted"))[0], prefetch=1)
    async with asyncio.timeout(WITHIN):
        (message,) = await source.take(1)
    channel = await system.plugin.connect(None)
    found = system.installation
    given = ("scripted", channel, found.store, broker, system.clock)
    one, copy = Submissions(*given), Submissions(*given)
    for submissions in (one, one, copy):
        handler = ProviderHandler("scripted", submissions, found.store, system.clock)
        assert await handler.handle([handler.read(message)]) == []
        await submissions.drain()
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    assert len(system.provider.taken) == 1
    await broker.close()


async def test_an_outcome_waits_for_the_broker(open_system: OpenSystem) -> None:
    """A step was submitted and the broker is unavailable: its outcome is published when the broker
    is back, though its message was acknowledged; a worker that must stop meanwhile leaves it to the
    deadline.
    """
    system = await system_without(open_system, "scripted")
    shop = await system.user()
    device = await system.device("scripted:a1")
    for name in ("n1", "n2"):
        await shop.send(name, device.token)
    broker = await system.connect("aoi")
    source = await broker.subscribe(worker_queue(delivery_queue("scripted"))[0], prefetch=2)
    messages: list[Inbound] = []
    async with asyncio.timeout(WITHIN):
        while len(messages) < 2:
            messages += await source.take(1)
    found = system.installation
    assert isinstance(broker, MemoryBroker)
    away = _Away(broker.server, user="aoi")
    channel = await system.plugin.connect(None)
    one = Submissions("scripted", channel, found.store, away, system.clock)
    handler = ProviderHandler("scripted", one, found.store, system.clock)
    await handler.handle([handler.read(messages[0])])
    await system.clock.somebody_sleeps()
    away.back = True
    system.clock.advance(1)
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    away.back = False
    await handler.handle([handler.read(messages[1])])
    async with asyncio.timeout(WITHIN):
        await one.drain()
    assert len(system.provider.taken) == 2
    assert await shop.story("n2") == ["sent"]
    await away.close()
    await broker.close()


class _Away(MemoryBroker):
    """A connection over which nothing goes out while it is away."""

    back = False

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """As the one below, once it is back."""
        if not self.back:
            raise BrokerUnavailable("the test took it away")
        return await super().publish(messages)
