"""8.1.2: channels that the server closed, or could not open, are offered again."""

from __future__ import annotations

import pytest

from aoi_events.client.core.activation import pause_before_repeat
from aoi_events.client.core.effects import OfferLater
from aoi_events.client.core.events import ChannelClosed
from aoi_events.client.core.inputs import (
    ApplicationRemoved,
    ApplicationStarted,
    ConnectionClosed,
    OfferDue,
    OffersChanged,
)
from aoi_events.contracts.answers import (
    ChannelsActivatedV1,
    RefusedV1,
    UnselectedChannel,
)
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.contracts.states import CloseReason
from aoi_events.oma_push.payload import ChallengePush
from tests.unit.client.device_harness import MAIL, RegisteredDevice, by_sms

WEBSOCKET = SelectedChannel(type="websocket", state="active")
SMS = SelectedChannel(type="sms", state="active")
SMS_PENDING = SelectedChannel(type="sms", state="pending")
PASSING = (
    CloseReason.ADDRESS_REFUSED,
    CloseReason.NOT_PROVED,
    CloseReason.CHALLENGE_REFUSED,
    CloseReason.WRONG_CODES,
    CloseReason.TOO_MANY_CHALLENGES,
    "a_reason_of_a_newer_server",
)
LASTING = tuple(reason for reason in CloseReason if reason not in PASSING)


def closed(reason: str = CloseReason.ADDRESS_REFUSED) -> UnselectedChannel:
    """SMS, which the server closed, or did not select."""
    return UnselectedChannel(type="sms", reason=reason, detail="number unknown")


def connect_again(device: RegisteredDevice, *gone: UnselectedChannel) -> None:
    """The connection is lost and made again; the server says which channels it closed."""
    device.lose_connection()
    device.connect(*gone)


def offers(device: RegisteredDevice) -> int:
    """How often the device offered its channels."""
    return len(device.requests("channel.activate"))


def answer(
    device: RegisteredDevice, *selected: SelectedChannel, not_selected: tuple[str, ...] = ()
) -> None:
    """The server answers the last offer."""
    sequence = device.stored.sequence
    unselected = tuple(closed(reason) for reason in not_selected)
    device.answer(
        "channel.activate",
        ChannelsActivatedV1(sequence=sequence, selected=selected, not_selected=unselected),
    )


def pauses(device: RegisteredDevice) -> list[OfferLater]:
    """The pauses before offers, so far."""
    return [effect for effect in device.effects if isinstance(effect, OfferLater)]


def end_pause(device: RegisteredDevice) -> None:
    """The last pause before an offer is over."""
    device.feed(OfferDue(pauses(device)[-1].number))


@pytest.mark.parametrize("reason", PASSING)
def test_closed_channel_is_offered_at_the_next_contact(reason: str) -> None:
    """A channel that the server closed is offered again while another one is active."""
    device = RegisteredDevice()
    connect_again(device, closed(reason))
    assert device.emitted(ChannelClosed) == [ChannelClosed("sms", reason, "number unknown")]
    assert device.stored.active == {"websocket"}
    assert offers(device) == 2
    assert [o["type"] for o in device.requests("channel.activate")[-1].body["offers"]] == [
        "websocket",
        "sms",
    ]
    device.serve()
    assert device.stored.active == {"websocket", "sms"}
    connect_again(device)
    assert offers(device) == 2, "all channels are active"


@pytest.mark.parametrize("reason", LASTING)
def test_channel_that_would_be_refused_again_is_not_offered(reason: str) -> None:
    """A channel that only another offer can open is not offered again with the same offer."""
    device = RegisteredDevice()
    connect_again(device, closed(reason))
    connect_again(device, closed(reason))
    assert offers(device) == 1
    assert pauses(device) == []
    device.feed(OffersChanged((ChannelOffer(type="websocket"),)))
    assert offers(device) == 2


@pytest.mark.parametrize("reason", LASTING)
def test_later_reason_counts(reason: str) -> None:
    """A closed channel that is closed for a lasting reason then is not offered any more."""
    device = RegisteredDevice()
    connect_again(device, closed())
    answer(device, WEBSOCKET, not_selected=(CloseReason.TOO_MANY_CHALLENGES,))
    connect_again(device, closed(reason))
    assert offers(device) == 2
    end_pause(device)
    assert offers(device) == 2


@pytest.mark.parametrize("reason", LASTING)
def test_without_an_active_channel_everything_is_offered(reason: str) -> None:
    """If the server closed the last active channel, all are offered, whatever the reason."""
    device = RegisteredDevice()
    gone = UnselectedChannel(type="websocket", reason=reason)
    connect_again(device, closed(reason), gone)
    assert offers(device) == 2


def test_channel_that_was_not_selected_for_now_is_offered_at_each_contact() -> None:
    """The client remembers a channel that the server could not open, also over a restart."""
    device = RegisteredDevice()
    connect_again(device, closed())
    for times in (2, 3, 4):
        assert offers(device) == times
        answer(device, WEBSOCKET, not_selected=(CloseReason.TOO_MANY_CHALLENGES,))
        assert offers(device) == times, "not again in the same contact"
        if times == 3:
            device.restart()
            device.feed(ApplicationStarted(MAIL, "default"))
            device.connect()
        else:
            connect_again(device)


def test_channel_that_stays_pending_is_offered_after_longer_and_longer_pauses() -> None:
    """Three unread challenges close a channel in silence: it is offered again with backoff."""
    device = RegisteredDevice()
    connect_again(device, closed())
    for repeats in range(4):
        answer(device, WEBSOCKET, SMS_PENDING)
        assert [pause.repeats for pause in pauses(device)] == list(range(repeats + 1))
        assert offers(device) == repeats + 2
        end_pause(device)
        assert offers(device) == repeats + 3
    answer(device, WEBSOCKET, SMS)
    assert len(pauses(device)) == 4
    end_pause(device)
    assert offers(device) == 6, "all channels are active"


def test_backoff_begins_anew_after_success_and_after_another_offer() -> None:
    """The pause is short again for another loss, and for other offers."""
    device = RegisteredDevice()
    for _ in range(2):
        connect_again(device, closed())
        answer(device, WEBSOCKET, SMS_PENDING)
        end_pause(device)
        answer(device, WEBSOCKET, SMS)
    connect_again(device, closed())
    answer(device, WEBSOCKET, SMS_PENDING)
    end_pause(device)
    answer(device, WEBSOCKET, SMS_PENDING)
    before = pauses(device)[-1]
    device.feed(OffersChanged((*device.model.offers, ChannelOffer(type="webhook"))))
    answer(device, WEBSOCKET, SMS_PENDING)
    assert [pause.repeats for pause in pauses(device)] == [0, 0, 0, 1, 0]
    sent = offers(device)
    device.feed(OfferDue(before.number))
    assert offers(device) == sent, "an earlier pause is over"


def test_contacts_do_not_change_the_backoff() -> None:
    """An unsteady connection makes the pauses neither shorter nor more."""
    device = RegisteredDevice()
    connect_again(device, closed())
    answer(device, WEBSOCKET, SMS_PENDING)
    for _ in range(5):
        connect_again(device, closed())
        answer(device, WEBSOCKET, SMS_PENDING)
    assert len(pauses(device)) == 1
    end_pause(device)
    answer(device, WEBSOCKET, SMS_PENDING)
    assert [pause.repeats for pause in pauses(device)] == [0, 1]


def test_pause_that_ends_without_a_connection_leads_to_an_offer_at_the_next_contact() -> None:
    """A pause that is over while the device is away is not lost, nor the next one."""
    device = RegisteredDevice()
    connect_again(device, closed())
    answer(device, WEBSOCKET, SMS_PENDING)
    device.lose_connection()
    end_pause(device)
    assert offers(device) == 2
    device.connect()
    assert offers(device) == 3
    answer(device, WEBSOCKET, SMS_PENDING)
    assert [pause.repeats for pause in pauses(device)] == [0, 1]


def test_restart_with_a_pending_channel_begins_a_pause() -> None:
    """A process that starts with a pending channel offers it again after a pause."""
    device = RegisteredDevice()
    connect_again(device, closed())
    answer(device, WEBSOCKET, SMS_PENDING)
    device.restart()
    device.feed(ApplicationStarted(MAIL, "default"))
    device.connect()
    assert offers(device) == 2
    end_pause(device)
    assert offers(device) == 3


def test_code_that_came_too_late_leads_to_an_offer_at_once() -> None:
    """A challenge that is read after its round proves the channel: another round is asked for."""
    device = RegisteredDevice()
    connect_again(device, closed())
    answer(device, WEBSOCKET, SMS_PENDING)
    device.feed(by_sms(ChallengePush("K3Y9AB")))
    device.answer("channel.confirm", RefusedV1(code="challenge_expired", message="too late"))
    assert offers(device) == 3
    device.serve()
    assert device.stored.active == {"websocket", "sms"}


def test_refused_offer_is_repeated_after_a_pause() -> None:
    """A refused offer is repeated on the same connection, too, after longer and longer pauses."""
    device = RegisteredDevice()
    connect_again(device, closed())
    for repeats in range(3):
        device.answer("channel.activate", RefusedV1(code="not_allowed", message="no"))
        assert [pause.repeats for pause in pauses(device)] == list(range(repeats + 1))
        end_pause(device)
        assert offers(device) == repeats + 3


def test_device_without_applications_offers_nothing_again() -> None:
    """Without an app there is no use for a channel; the next app that starts has it offered."""
    device = RegisteredDevice()
    device.feed(ApplicationRemoved(f"{MAIL}/default"))
    device.serve()
    connect_again(device, closed())
    assert (offers(device), pauses(device)) == (1, [])
    device.feed(ApplicationStarted(MAIL, "default"))
    assert offers(device) == 2


def test_channel_that_is_not_offered_any_more_is_not_missed() -> None:
    """A closed channel that the device has withdrawn causes no offer."""
    device = RegisteredDevice()
    device.feed(OffersChanged((ChannelOffer(type="websocket"),)))
    device.serve()
    connect_again(device, closed())
    assert (offers(device), pauses(device)) == (2, [])


def test_pauses_grow_from_minutes_to_hours() -> None:
    """Each pause is twice as long as the one before, up to six hours, less up to half of it."""
    longest = [pause_before_repeat(repeats, 1.0) for repeats in range(10)]
    assert longest == [120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 21_600, 21_600]
    assert pause_before_repeat(0, 0.0) == 60


def test_pause_of_a_lost_connection_runs_on() -> None:
    """A connection that ends does not begin another pause."""
    device = RegisteredDevice()
    connect_again(device, closed())
    answer(device, WEBSOCKET, SMS_PENDING)
    device.feed(ConnectionClosed(device.generation, None, "lost"))
    device.connect()
    assert len(pauses(device)) == 1
