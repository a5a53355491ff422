"""8.1.2 Notification Channel Activation."""

from __future__ import annotations

import pytest

from aoi_events.client.core.effects import Listen
from aoi_events.client.core.events import Activated, NotificationsLost
from aoi_events.client.core.inputs import (
    ApplicationStarted,
    ClientStarted,
    ConnectionClosed,
    NetworkChanged,
    OffersChanged,
    RequestTimedOut,
)
from aoi_events.client.core.model import Network
from aoi_events.contracts.answers import (
    ChannelsActivatedV1,
    ClientRegisteredV1,
    RefusedV1,
    UnselectedChannel,
)
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.device import AnswerFrame, HelloFrame, WelcomeFrame
from aoi_events.contracts.requests import ChannelOffer, Circumstances
from aoi_events.oma_push.payload import ChallengePush
from tests.unit.client.device_harness import (
    CELLULAR,
    MAIL,
    WIFI,
    DeviceHarness,
    by_sms,
    notification,
)

WEBSOCKET = SelectedChannel(type="websocket", state="active")
SMS = SelectedChannel(type="sms", state="active")
SMS_PENDING = SelectedChannel(type="sms", state="pending")


def asking(**settings: object) -> DeviceHarness:
    """A registered device whose first app has started, and is not registered yet."""
    device = DeviceHarness(**settings)
    device.feed(ClientStarted())
    device.feed(ApplicationStarted(MAIL, "default"))
    device.register()
    return device


def active() -> DeviceHarness:
    """A device with active channels."""
    device = asking()
    device.serve()
    return device


def test_activates_when_an_application_asks_and_no_channel_is_active() -> None:
    """8.1.2: "when there is currently no notification channel active, the AOI Client MAY issue"."""
    device = asking()
    [request] = device.requests("channel.activate")
    assert [offer["type"] for offer in request.body["offers"]] == ["websocket", "sms"]
    assert request.body["circumstances"]["bearer"] == "wifi"
    device.serve()
    device.feed(ApplicationStarted("org.example.chat", "default"))
    assert len(device.requests("channel.activate")) == 1


def test_nothing_is_activated_before_an_application_asks() -> None:
    """A client that registered upon installation waits for the first app before it activates."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    device.register()
    assert device.requests("channel.activate") == []


def test_performs_what_the_confirmation_asks() -> None:
    """8.1.2: "the AOI Client SHALL perform any action to activate them": SMS is listened to."""
    device = asking()
    answer = ChannelsActivatedV1(sequence=1, selected=(WEBSOCKET, SMS_PENDING))
    effects = device.answer("channel.activate", answer)
    assert Listen("sms") in effects
    assert device.emitted(Activated)[-1] == Activated(("websocket",), ("sms",), ())
    device.restart()
    assert device.effects[-2:].count(Listen("sms")) == 1


def test_a_channel_that_was_not_selected_is_not_listened_to() -> None:
    """A channel that the server did not select is not read, and the event has the reason."""
    device = asking()
    reason = UnselectedChannel(type="sms", reason="no SMSC")
    answer = ChannelsActivatedV1(sequence=1, selected=(WEBSOCKET,), not_selected=(reason,))
    assert Listen("sms") not in device.answer("channel.activate", answer)
    assert device.emitted(Activated)[-1].not_selected == (reason,)


def test_challenge_by_sms_is_answered() -> None:
    """A code that came over the channel goes back, and the updated set is stored."""
    device = asking()
    device.serve(pending_sms=True)
    assert device.stored.active == {"websocket"}
    challenge = by_sms(ChallengePush("K3Y9AB"))
    device.feed(challenge)
    [confirm] = device.requests("channel.confirm")
    assert (confirm.body["channel"], confirm.body["code"]) == ("sms", "K3Y9AB")
    device.serve()
    assert device.stored.active == {"websocket", "sms"}
    assert device.stored.codes == {}


def test_challenge_that_beats_the_confirmation_is_kept() -> None:
    """A code that comes before the answer that selects its channel is not lost."""
    device = asking()
    device.feed(by_sms(ChallengePush("K3Y9AB")))
    assert device.requests("channel.confirm") == []
    device.feed(ConnectionClosed(device.generation, None, "lost"))
    device.restart()
    device.connect()
    device.serve(pending_sms=True)
    assert len(device.requests("channel.confirm")) == 1
    assert device.stored.active == {"websocket", "sms"}


def test_newer_code_survives_the_answer_to_an_older_one() -> None:
    """When a challenge is sent again, the refusal of the first code does not lose the second."""
    device = asking()
    device.serve(pending_sms=True)
    device.feed(by_sms(ChallengePush("AAAAAA")))
    first, _ = device.pending("channel.confirm")
    device.feed(by_sms(ChallengePush("BBBBBB")))
    sent = [r for r in device.requests("channel.confirm") if r.id == first]
    assert sent[0].body["code"] == "AAAAAA"
    assert device.requests("channel.confirm")[-1].body["code"] == "BBBBBB"
    refusal = RefusedV1(code="challenge_wrong", message="no").model_dump(exclude_none=True)
    device.receive(AnswerFrame(id=first, name="refused.v1", body=refusal))
    assert device.stored.codes == {"sms": "BBBBBB"}


def test_challenge_that_is_no_code_is_ignored() -> None:
    """An invalid code in a short message does not cause a request to the server."""
    device = active()
    device.feed(by_sms(ChallengePush("no;code!")))
    assert device.requests("channel.confirm") == []


def test_change_of_network_activates_over_a_new_connection() -> None:
    """8.1.2: "the data connection switches from 3G to Wi-Fi": it SHALL activate and say so."""
    device = active()
    device.feed(NetworkChanged(CELLULAR))
    device.connect()
    request = device.requests("channel.activate")[-1]
    assert request.body["circumstances"] == {"bearer": "cellular", "metered": True}
    assert request.body["sequence"] == 2


def test_new_address_alone_activates() -> None:
    """8.1.2: "the user gets a new IP address": it SHALL activate."""
    device = active()
    device.feed(NetworkChanged(Network(WIFI.circumstances, "192.0.2.77")))
    device.connect()
    assert len(device.requests("channel.activate")) == 2


def test_metered_network_activates_over_the_same_connection() -> None:
    """A change that leaves the path as it is needs no new connection."""
    device = active()
    connections = len(device.connects())
    metered = Network(Circumstances(bearer="wifi", metered=True), WIFI.address)
    device.feed(NetworkChanged(metered))
    assert len(device.requests("channel.activate")) == 2
    assert len(device.connects()) == connections


def test_change_of_capability_activates() -> None:
    """8.1.2: a change "in the nature or characteristics of the notification channel(s)"."""
    device = active()
    device.feed(OffersChanged((ChannelOffer(type="websocket", largest_content=100),)))
    request = device.requests("channel.activate")[-1]
    assert [o["largest_content"] for o in request.body["offers"]] == [100]


def test_connecting_again_needs_no_activation() -> None:
    """The same network after a lost connection, a restart or a dead spot: nothing is activated."""
    device = active()
    device.feed(ConnectionClosed(device.generation, None, "lost"))
    device.connect()
    device.restart()
    device.connect()
    device.feed(NetworkChanged(Network(Circumstances(bearer="none"))))
    device.feed(NetworkChanged(WIFI))
    device.connect()
    assert len(device.requests("channel.activate")) == 1


def test_change_that_was_not_answered_is_offered_again() -> None:
    """What the server may have applied is corrected, even when things changed back meanwhile."""
    device = active()
    device.feed(NetworkChanged(CELLULAR))
    device.connect()
    device.feed(NetworkChanged(WIFI))
    device.connect()
    device.serve()
    bearers = [r.body["circumstances"]["bearer"] for r in device.requests("channel.activate")]
    assert bearers == ["wifi", "cellular", "wifi"]


def test_goes_above_the_stored_sequence() -> None:
    """An answer with applied=false changes nothing, and the client goes on above its number."""
    device = asking()
    answer = ChannelsActivatedV1(sequence=41, applied=False, selected=(WEBSOCKET,))
    device.answer("channel.activate", answer)
    assert device.stored.channels == ()
    assert device.requests("channel.activate")[-1].body["sequence"] == 42


def test_nonsense_sequence_does_not_loop() -> None:
    """A server that does not apply and names a lower or an impossible number is not asked on."""
    for sequence in (0, -5, 2**53, 2**60):
        device = asking()
        answer = ChannelsActivatedV1(sequence=sequence, applied=False, selected=())
        device.answer("channel.activate", answer)
        assert len(device.requests("channel.activate")) == 1


def test_welcome_can_raise_the_sequence() -> None:
    """A client with a lower number goes on above the number of the welcome."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    device.open()
    device.answer("client.register", ClientRegisteredV1(client=device.server_id()))
    client = device.stored.client or ""
    device.receive(WelcomeFrame(client=client, session="s", epoch=1, sequence=7, ping_every=30.0))
    device.feed(ApplicationStarted(MAIL, "default"))
    assert device.requests("channel.activate")[-1].body["sequence"] == 8


def test_unanswered_activation_is_repeated() -> None:
    """If other frames come but no answer, the request is repeated with a new number."""
    device = asking()
    number, _ = device.pending("channel.activate")
    device.receive(notification(1, "k.unknown-token"))
    device.feed(RequestTimedOut(device.generation, number))
    assert [r.body["sequence"] for r in device.requests("channel.activate")] == [1, 2]


def test_connection_without_a_word_is_given_up() -> None:
    """Without an answer and without any other frame the connection is dead, and made again."""
    device = asking()
    number, _ = device.pending("channel.activate")
    device.feed(RequestTimedOut(device.generation, number))
    assert len(device.connects()) == 2
    device.connect()
    assert [r.body["sequence"] for r in device.requests("channel.activate")] == [1, 2]


@pytest.mark.parametrize("code", ["unavailable", "internal", "quota_exceeded"])
def test_unavailable_server_is_asked_later(code: str) -> None:
    """A refusal that passes is not an answer: the request is repeated when its time is over."""
    device = asking()
    number, _ = device.pending("channel.activate")
    device.answer("channel.activate", RefusedV1(code=code, message="later"))
    assert len(device.requests("channel.activate")) == 1
    device.feed(RequestTimedOut(device.generation, number))
    assert len(device.requests("channel.activate")) == 2


def test_refused_activation_waits_for_another_occasion() -> None:
    """A lasting refusal is not repeated before the next connection or change."""
    device = asking()
    device.answer("channel.activate", RefusedV1(code="not_allowed", message="no"))
    assert len(device.requests("channel.activate")) == 1
    device.feed(OffersChanged((ChannelOffer(type="websocket"),)))
    assert len(device.requests("channel.activate")) == 2


def test_answer_to_an_overtaken_activation_changes_nothing() -> None:
    """Of two activations under way the later one counts, whichever answer comes first."""
    device = asking()
    first, _ = device.pending("channel.activate")
    device.feed(OffersChanged((ChannelOffer(type="websocket"),)))
    device.answer("channel.activate", ChannelsActivatedV1(sequence=2, selected=(WEBSOCKET,)))
    old = ChannelsActivatedV1(sequence=1, selected=(WEBSOCKET, SMS))
    body = old.model_dump(mode="json", exclude_none=True)
    device.receive(AnswerFrame(id=first, name="channels.activated.v1", body=body))
    assert device.stored.active == {"websocket"}
    assert not device.stored.activating


def test_what_the_server_could_not_keep_is_told_to_the_apps() -> None:
    """A welcome that counts lost notifications emits an event; one without does not."""
    device = active()
    client = device.stored.client or ""
    for epoch, lost in ((2, 0), (3, 7)):
        device.feed(ConnectionClosed(device.generation, None, "lost"))
        device.open()
        device.receive(
            WelcomeFrame(
                client=client,
                session=f"s{epoch}",
                epoch=epoch,
                sequence=1,
                ping_every=30.0,
                lost=lost,
            )
        )
    assert device.emitted(NotificationsLost) == [NotificationsLost(7)]
    device.restart()
    device.open()
    heard = [frame.heard for frame in device.sent(HelloFrame)]
    assert heard[-3:] == ["", "", "s3"], "the server need not say it again"
