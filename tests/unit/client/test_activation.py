"""8.1.2 Notification Channel Activation."""

from __future__ import annotations

import pytest

from aoi_events.client.core.effects import Listen
from aoi_events.client.core.events import Activated, ChannelClosed, NotificationsLost
from aoi_events.client.core.inputs import (
    ApplicationAsked,
    Closed,
    NetworkChanged,
    OffersChanged,
    Started,
    Unanswered,
)
from aoi_events.client.core.model import Network
from aoi_events.contracts.answers import (
    ChannelsActivatedV1,
    ClientRegisteredV1,
    RefusedV1,
    SelectedChannel,
    UnselectedChannel,
)
from aoi_events.contracts.device import AnswerFrame, HelloFrame, WelcomeFrame
from aoi_events.contracts.requests import ChannelOffer, Circumstances
from aoi_events.oma_push.payload import ChallengePush
from tests.unit.client.rehearsal import CELLULAR, MAIL, WIFI, Rehearsal, by_sms, notification

WEBSOCKET = SelectedChannel(type="websocket", state="active")
SMS = SelectedChannel(type="sms", state="active")
SMS_PENDING = SelectedChannel(type="sms", state="pending")


def asking(**settings: object) -> Rehearsal:
    """A registered device whose first app has just asked."""
    rehearsal = Rehearsal(**settings)
    rehearsal.play(Started())
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.register()
    return rehearsal


def active() -> Rehearsal:
    """A device with active channels."""
    rehearsal = asking()
    rehearsal.serve()
    return rehearsal


def test_activates_when_an_application_asks_and_no_channel_is_active() -> None:
    """8.1.2: "when there is currently no notification channel active, the AOI Client MAY issue"."""
    rehearsal = asking()
    [request] = rehearsal.requests("channel.activate")
    assert [offer["type"] for offer in request.body["offers"]] == ["websocket", "sms"]
    assert request.body["circumstances"]["bearer"] == "wifi"
    rehearsal.serve()
    rehearsal.play(ApplicationAsked("org.example.chat", "default"))
    assert len(rehearsal.requests("channel.activate")) == 1


def test_nothing_is_activated_before_an_application_asks() -> None:
    """A client that registered upon installation waits for the first app before it activates."""
    rehearsal = Rehearsal(register_on="install")
    rehearsal.play(Started())
    rehearsal.register()
    assert rehearsal.requests("channel.activate") == []


def test_performs_what_the_confirmation_asks() -> None:
    """8.1.2: "the AOI Client SHALL perform any action to activate them": SMS is listened to."""
    rehearsal = asking()
    answer = ChannelsActivatedV1(sequence=1, selected=(WEBSOCKET, SMS_PENDING))
    effects = rehearsal.answer("channel.activate", answer)
    assert Listen("sms") in effects
    assert rehearsal.told(Activated)[-1] == Activated(("websocket",), ("sms",), ())
    rehearsal.restart()
    assert rehearsal.effects[-2:].count(Listen("sms")) == 1


def test_a_channel_that_was_not_selected_is_not_listened_to() -> None:
    """Nothing is done for a channel that the server did not select, and why not is told."""
    rehearsal = asking()
    reason = UnselectedChannel(type="sms", reason="no SMSC")
    answer = ChannelsActivatedV1(sequence=1, selected=(WEBSOCKET,), not_selected=(reason,))
    assert Listen("sms") not in rehearsal.answer("channel.activate", answer)
    assert rehearsal.told(Activated)[-1].not_selected == (reason,)


def test_challenge_by_sms_is_answered() -> None:
    """A code that came over the channel goes back, and the updated set is stored."""
    rehearsal = asking()
    rehearsal.serve(pending_sms=True)
    assert rehearsal.stored.active == {"websocket"}
    challenge = by_sms(ChallengePush("K3Y9AB"))
    rehearsal.play(challenge)
    [confirm] = rehearsal.requests("channel.confirm")
    assert (confirm.body["channel"], confirm.body["code"]) == ("sms", "K3Y9AB")
    rehearsal.serve()
    assert rehearsal.stored.active == {"websocket", "sms"}
    assert rehearsal.stored.codes == {}


def test_challenge_that_beats_the_confirmation_is_kept() -> None:
    """A code may come before the answer that says for which channel it is; it is not lost."""
    rehearsal = asking()
    rehearsal.play(by_sms(ChallengePush("K3Y9AB")))
    assert rehearsal.requests("channel.confirm") == []
    rehearsal.play(Closed(rehearsal.generation, None, "lost"))
    rehearsal.restart()
    rehearsal.connect()
    rehearsal.serve(pending_sms=True)
    assert len(rehearsal.requests("channel.confirm")) == 1
    assert rehearsal.stored.active == {"websocket", "sms"}


def test_newer_code_survives_the_answer_to_an_older_one() -> None:
    """When a challenge is sent again, the refusal of the first code does not lose the second."""
    rehearsal = asking()
    rehearsal.serve(pending_sms=True)
    rehearsal.play(by_sms(ChallengePush("AAAAAA")))
    first, _ = rehearsal.pending("channel.confirm")
    rehearsal.play(by_sms(ChallengePush("BBBBBB")))
    sent = [r for r in rehearsal.requests("channel.confirm") if r.id == first]
    assert sent[0].body["code"] == "AAAAAA"
    assert rehearsal.requests("channel.confirm")[-1].body["code"] == "BBBBBB"
    refusal = RefusedV1(code="challenge_wrong", message="no").model_dump(exclude_none=True)
    rehearsal.receive(AnswerFrame(id=first, name="refused.v1", body=refusal))
    assert rehearsal.stored.codes == {"sms": "BBBBBB"}


def test_challenge_that_is_no_code_is_ignored() -> None:
    """A stranger's short message cannot make the client send what the server would refuse."""
    rehearsal = active()
    rehearsal.play(by_sms(ChallengePush("no;code!")))
    assert rehearsal.requests("channel.confirm") == []


def test_change_of_network_activates_over_a_new_connection() -> None:
    """8.1.2: "the data connection switches from 3G to Wi-Fi": it SHALL activate and say so."""
    rehearsal = active()
    rehearsal.play(NetworkChanged(CELLULAR))
    rehearsal.connect()
    request = rehearsal.requests("channel.activate")[-1]
    assert request.body["circumstances"] == {"bearer": "cellular", "metered": True}
    assert request.body["sequence"] == 2


def test_new_address_alone_activates() -> None:
    """8.1.2: "the user gets a new IP address": it SHALL activate."""
    rehearsal = active()
    rehearsal.play(NetworkChanged(Network(WIFI.circumstances, "192.0.2.77")))
    rehearsal.connect()
    assert len(rehearsal.requests("channel.activate")) == 2


def test_metered_network_activates_over_the_same_connection() -> None:
    """A change that leaves the path as it is needs no new connection."""
    rehearsal = active()
    connections = len(rehearsal.opened())
    metered = Network(Circumstances(bearer="wifi", metered=True), WIFI.address)
    rehearsal.play(NetworkChanged(metered))
    assert len(rehearsal.requests("channel.activate")) == 2
    assert len(rehearsal.opened()) == connections


def test_change_of_capability_activates() -> None:
    """8.1.2: a change "in the nature or characteristics of the notification channel(s)"."""
    rehearsal = active()
    rehearsal.play(OffersChanged((ChannelOffer(type="websocket", largest_content=100),)))
    request = rehearsal.requests("channel.activate")[-1]
    assert [o["largest_content"] for o in request.body["offers"]] == [100]


def test_connecting_again_needs_no_activation() -> None:
    """The same network after a lost connection, a restart or a dead spot: nothing is activated."""
    rehearsal = active()
    rehearsal.play(Closed(rehearsal.generation, None, "lost"))
    rehearsal.connect()
    rehearsal.restart()
    rehearsal.connect()
    rehearsal.play(NetworkChanged(Network(Circumstances(bearer="none"))))
    rehearsal.play(NetworkChanged(WIFI))
    rehearsal.connect()
    assert len(rehearsal.requests("channel.activate")) == 1


def test_change_that_was_not_answered_is_offered_again() -> None:
    """What the server may have applied is corrected, even when things changed back meanwhile."""
    rehearsal = active()
    rehearsal.play(NetworkChanged(CELLULAR))
    rehearsal.connect()
    rehearsal.play(NetworkChanged(WIFI))
    rehearsal.connect()
    rehearsal.serve()
    bearers = [r.body["circumstances"]["bearer"] for r in rehearsal.requests("channel.activate")]
    assert bearers == ["wifi", "cellular", "wifi"]


def test_goes_above_the_stored_sequence() -> None:
    """An answer with applied=false changes nothing, and the client goes on above its number."""
    rehearsal = asking()
    answer = ChannelsActivatedV1(sequence=41, applied=False, selected=(WEBSOCKET,))
    rehearsal.answer("channel.activate", answer)
    assert rehearsal.stored.channels == ()
    assert rehearsal.requests("channel.activate")[-1].body["sequence"] == 42


def test_nonsense_sequence_does_not_loop() -> None:
    """A server that does not apply and names a lower or an impossible number is not asked on."""
    for sequence in (0, -5, 2**53, 2**60):
        rehearsal = asking()
        answer = ChannelsActivatedV1(sequence=sequence, applied=False, selected=())
        rehearsal.answer("channel.activate", answer)
        assert len(rehearsal.requests("channel.activate")) == 1


def test_welcome_can_raise_the_sequence() -> None:
    """A client that lost count goes on above what the store says at hello."""
    rehearsal = Rehearsal(register_on="install")
    rehearsal.play(Started())
    rehearsal.open()
    rehearsal.answer("client.register", ClientRegisteredV1(client=rehearsal.server_id()))
    client = rehearsal.stored.client or ""
    rehearsal.receive(
        WelcomeFrame(client=client, session="s", epoch=1, sequence=7, ping_every=30.0)
    )
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    assert rehearsal.requests("channel.activate")[-1].body["sequence"] == 8


def test_unanswered_activation_is_repeated() -> None:
    """No answer in time, though the server is heard: it is asked again, with a new number."""
    rehearsal = asking()
    number, _ = rehearsal.pending("channel.activate")
    rehearsal.receive(notification(1, "k.unknown-token"))
    rehearsal.play(Unanswered(rehearsal.generation, number))
    assert [r.body["sequence"] for r in rehearsal.requests("channel.activate")] == [1, 2]


def test_connection_without_a_word_is_given_up() -> None:
    """No answer and no other word since the request: the connection is dead, and made again."""
    rehearsal = asking()
    number, _ = rehearsal.pending("channel.activate")
    rehearsal.play(Unanswered(rehearsal.generation, number))
    assert len(rehearsal.opened()) == 2
    rehearsal.connect()
    assert [r.body["sequence"] for r in rehearsal.requests("channel.activate")] == [1, 2]


@pytest.mark.parametrize("code", ["unavailable", "internal", "quota_exceeded"])
def test_unavailable_server_is_asked_later(code: str) -> None:
    """A refusal that passes is not an answer: the request is repeated when its time is over."""
    rehearsal = asking()
    number, _ = rehearsal.pending("channel.activate")
    rehearsal.answer("channel.activate", RefusedV1(code=code, message="later"))
    assert len(rehearsal.requests("channel.activate")) == 1
    rehearsal.play(Unanswered(rehearsal.generation, number))
    assert len(rehearsal.requests("channel.activate")) == 2


def test_refused_activation_waits_for_another_occasion() -> None:
    """A lasting refusal is not repeated before the next connection or change."""
    rehearsal = asking()
    rehearsal.answer("channel.activate", RefusedV1(code="not_allowed", message="no"))
    assert len(rehearsal.requests("channel.activate")) == 1
    rehearsal.play(OffersChanged((ChannelOffer(type="websocket"),)))
    assert len(rehearsal.requests("channel.activate")) == 2


def test_answer_to_an_overtaken_activation_changes_nothing() -> None:
    """Of two activations under way the later one counts, whichever answer comes first."""
    rehearsal = asking()
    first, _ = rehearsal.pending("channel.activate")
    rehearsal.play(OffersChanged((ChannelOffer(type="websocket"),)))
    rehearsal.answer("channel.activate", ChannelsActivatedV1(sequence=2, selected=(WEBSOCKET,)))
    old = ChannelsActivatedV1(sequence=1, selected=(WEBSOCKET, SMS))
    body = old.model_dump(mode="json", exclude_none=True)
    rehearsal.receive(AnswerFrame(id=first, name="channels.activated.v1", body=body))
    assert rehearsal.stored.active == {"websocket"}
    assert not rehearsal.stored.activating


def test_channel_that_the_server_closed() -> None:
    """A closed channel is not counted as active; only without any other one is there an offer."""
    rehearsal = active()
    rehearsal.play(Closed(rehearsal.generation, None, "lost"))
    rehearsal.open()
    client = rehearsal.stored.client or ""
    closed = (UnselectedChannel(type="sms", reason="address_refused", detail="number unknown"),)
    rehearsal.receive(
        WelcomeFrame(
            client=client, session="s", epoch=2, sequence=1, ping_every=30.0, closed=closed
        )
    )
    assert rehearsal.told(ChannelClosed) == [
        ChannelClosed("sms", "address_refused", "number unknown")
    ]
    assert rehearsal.stored.active == {"websocket"}
    assert len(rehearsal.requests("channel.activate")) == 1


def test_what_the_server_could_not_keep_is_told_to_the_apps() -> None:
    """A welcome that counts lost notifications says so; one without is silent."""
    rehearsal = active()
    client = rehearsal.stored.client or ""
    for epoch, lost in ((2, 0), (3, 7)):
        rehearsal.play(Closed(rehearsal.generation, None, "lost"))
        rehearsal.open()
        rehearsal.receive(
            WelcomeFrame(
                client=client,
                session=f"s{epoch}",
                epoch=epoch,
                sequence=1,
                ping_every=30.0,
                lost=lost,
            )
        )
    assert rehearsal.told(NotificationsLost) == [NotificationsLost(7)]
    rehearsal.restart()
    rehearsal.open()
    heard = [frame.heard for frame in rehearsal.sent(HelloFrame)]
    assert heard[-3:] == ["", "", "s3"], "the server need not say it again"
