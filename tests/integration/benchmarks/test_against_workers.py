"""The model beside real workers: for the same device the same messages go out, and end alike."""

from __future__ import annotations

from collections import Counter

import pytest

from aoi_events.channels.sms import plugin as sms
from aoi_events.channels.websocket import plugin as websocket
from aoi_events.contracts.identifiers import Mode
from aoi_events.testing.server import AoiServer
from tests.benchmarks.channels.comparing import WAYS
from tests.benchmarks.channels.playing import Way, play
from tests.benchmarks.channels.world import Fate, Spread, World
from tests.support.limits import WITHIN

HEDGE_AFTER = 1.0

TRAITS = {
    plugin.type: plugin.traits(plugin.settings_model(ack_within=ack_within))
    for plugin, ack_within in ((websocket, 2.0), (sms, 3.0))
}
"""As the server of the fixtures has them."""

# As the SMSC of the fixtures: what it takes arrives at once, and is receipted.
WORLD = World(sms=Spread(0.05, 0.01), sms_lost=0.0)


@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_the_same_as_in_the_model(aoi: AoiServer, way: Way, dead: bool) -> None:
    """How many messages go out over which channel, and how it ends, as the model says."""
    phone = await aoi.device("phone", apps=["org.example.mail"], sms=way.most is None)
    await phone.ready()
    shop = await aoi.publisher("shop")
    if dead:
        phone.cut()
    hedge_after = HEDGE_AFTER if way.mode is Mode.HEDGED else None
    sent = await shop.send(
        phone.app.last_token, "Your code", mode=way.mode, hedge_after=hedge_after, ttl=60
    )
    name = sent.notification
    if dead and way.most == 1:
        await aoi.wait_for.state(name, "stored", within=WITHIN)
        aoi.advance(61.0)
    [status] = await aoi.wait_for.state(name, "terminal", within=WITHIN)
    fate = Fate(WORLD, "1/1", 0.0, noticed_at=1e3, back_at=1e6, dead=dead)
    told = play(fate, way, TRAITS, hedge_after=HEDGE_AFTER, ttl=60.0)
    went_out = Counter(hop.channel for hop in status.story if hop.what == "sent")
    assert went_out == told.sent
    assert status.state is told.reported
