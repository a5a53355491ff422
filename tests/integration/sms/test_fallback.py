"""An SMSC that is down while another channel works: nobody waits for it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from aoi_events import Publisher
from aoi_events.contracts.push import PushedChallenge, push_frames
from aoi_events.contracts.requests import ActivateChannelsV1, ChannelOffer, ConfirmChannelV1
from aoi_events.testing import AoiServer, LoopbackSmsc, WaitFor
from tests.integration.sms.conftest import BOTH, MakeHandset
from tests.integration.sms.handset import Handset
from tests.integration.sms.traffic import all_delivered_in_time, contents
from tests.support.receivers import Receiver


@pytest.fixture
def aoi_settings(aoi_settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Webhooks, too; acknowledgements have long, so that no window stands in for the breaker."""
    webhook = {
        "enabled": True,
        "allow_http": True,
        "networks": ["127.0.0.0/8"],
        "ports": [],
        "signing_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        "ack_within": 600.0,
    }
    channels = aoi_settings["channels"]
    sms = {**channels["sms"], "ack_within": 600.0}
    return {**aoi_settings, "channels": {**channels, "sms": sms, "webhook": webhook}}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The device's own receiver."""
    async with Receiver() as receiver:
        yield receiver


async def both(phone: Handset, receiver: Receiver) -> None:
    """The phone offers SMS, which it likes better, and a webhook, and proves the latter, too."""
    requests, secret = phone.requests, phone.secret
    offers = (
        ChannelOffer(type="sms", parameters={"msisdn": phone.number}, preference=90),
        ChannelOffer(type="webhook", parameters={"url": receiver.url("/hook")}, preference=10),
    )
    await requests.activate_channels(
        ActivateChannelsV1(
            version=1, client=phone.client, secret=secret, sequence=phone.next(), offers=offers
        )
    )
    frame = push_frames.validate_json((await receiver.next(0)).body)
    assert isinstance(frame, PushedChallenge)
    await requests.confirm_channel(
        ConfirmChannelV1(
            version=1, client=phone.client, secret=secret, channel="webhook", code=frame.code
        )
    )


@BOTH
async def test_a_fallback_starts_at_once_and_nothing_is_sent_twice(
    server: AoiServer,
    smsc: LoopbackSmsc,
    receiver: Receiver,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
) -> None:
    """The SMSC is known to be down: the webhook has the notification without any window having
    ended, no attempt of SMS is counted, and when the SMSC is back it does not go out there as well.
    """
    phone, alone = await handset(), await handset("+31600000002")
    await both(phone, receiver)
    await smsc.go_down()
    await smsc.bound(0)
    await shop.send(alone.token, "n0", notification="n0")
    await wait_for.hop("n0", "unavailable")
    before = len(smsc.submissions)

    accepted = await shop.send(phone.token, "Gate B12", notification="n1")
    assert b"Gate B12" in (await receiver.next(1)).body
    await wait_for.hop("n1", "accepted")
    async with server.installation.store.transaction(read_only=True) as tx:
        (row,) = (await tx.deliveries({accepted.deliveries[0].delivery})).values()
    assert [(state.step.channel, state.retries) for state in row.steps] == [
        ("sms", 0),
        ("webhook", 0),
    ]
    assert row.steps[0].awaits_provider

    await smsc.come_back()
    await smsc.bound(1)
    await all_delivered_in_time(server, ["n0"])
    assert [each for each in contents(smsc) if each == "Gate B12"] == []
    assert len(smsc.submissions) > before
    assert len(receiver.got) == 2
