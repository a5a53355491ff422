"""The device's own word against a provider's, in every order, one example for each rule."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.facts import (
    Announce,
    DeadlineReached,
    Planned,
    Reported,
    RevokeToken,
)
from aoi_events.domain.delivery.state import Delivery
from tests.support.histories import BEHIND, SMS, WEBSOCKET, at, follow, planned, said
from tests.support.rules import take

REFUSALS = (
    OutcomeKind.COULD_NOT_WAKE,
    OutcomeKind.DISCARDED,
    OutcomeKind.NO_SUCH_APPLICATION,
)


def sms_behind_silence() -> Delivery:
    """The device was connected and silent for its 10 s; the SMS went out as attempt 2."""
    return take(planned(WEBSOCKET, SMS), DeadlineReached(), at(10)).delivery


def receipt(when: float, step: int = 1, attempt: int = 2) -> Reported:
    """The provider says that the device has it."""
    return said(OutcomeKind.RECEIPTED, when, step, attempt, channel="sms")


def test_a_receipt_settles_at_once_where_no_device_is_about_to_speak() -> None:
    """Nothing but SMS in the plan: who else could say more, and when?"""
    done = take(planned(SMS), receipt(6, 0, 1), at(6))
    assert (done.delivery.state, done.delivery.by) == (DeliveryState.DELIVERED, Evidence.PROVIDER)
    assert done.effects == (Announce(),)


@pytest.mark.parametrize("gone", [OutcomeKind.ROUTE_LOST, OutcomeKind.REJECTED, OutcomeKind.PARKED])
def test_a_receipt_settles_at_once_where_the_device_was_not_reached(gone: OutcomeKind) -> None:
    """Its connection is known to have failed: it has nothing to speak of."""
    lost = take(planned(WEBSOCKET, SMS), said(gone, 1), at(1)).delivery
    assert take(lost, receipt(3), at(3)).delivery.by is Evidence.PROVIDER


def test_a_receipt_settles_at_once_where_the_gateway_refused_for_now() -> None:
    """The device's window was full, so it does not have this one."""
    both = planned(WEBSOCKET, replace(SMS, start_after=0.0))
    busy = take(both, said(OutcomeKind.REFUSED, 1, retry_after=20), at(1)).delivery
    assert take(busy, receipt(3), at(3)).delivery.by is Evidence.PROVIDER


def test_a_receipt_waits_for_a_device_that_may_speak() -> None:
    """The connected device was silent for its time and may be working still: the receipt settles
    as an acceptance does, when the step's window ends.
    """
    waiting = take(sms_behind_silence(), receipt(12), at(12))
    assert waiting.delivery.state is DeliveryState.SENDING
    assert waiting.delivery.deadline == at(40)
    assert waiting.effects == ()
    done = take(waiting.delivery, DeadlineReached(), at(40))
    assert done.delivery.by is Evidence.PROVIDER
    assert done.delivery.channel == "sms"


def test_a_receipt_in_waiting_settles_when_the_connection_is_known_to_be_gone() -> None:
    """The gateway notices late that the connection was gone: a receipt then settles at once."""
    gone = said(OutcomeKind.ROUTE_LOST, 13, epoch=7)
    for order in permutations((gone, receipt(12))):
        done = follow(sms_behind_silence(), [(13, word) for word in order]).delivery
        assert done.by is Evidence.PROVIDER


def test_a_receipt_waits_for_a_connection_under_way() -> None:
    """In a parallel plan the receipt waits, and settles as soon as the connection is lost."""
    both = planned(WEBSOCKET, replace(SMS, start_after=0.0))
    waiting = take(both, receipt(2), at(2)).delivery
    assert waiting.state is DeliveryState.SENDING
    assert take(waiting, said(OutcomeKind.ROUTE_LOST, 3), at(3)).delivery.by is Evidence.PROVIDER


def test_a_receipt_waits_for_a_device_that_is_connected_and_was_not_asked_yet() -> None:
    """Who plans to reach it over its connection knows that it can speak; nothing more is sent."""
    waiting = take(planned(replace(SMS, start_after=0.0), BEHIND), receipt(2, 0, 1), at(2))
    assert (waiting.delivery.state, waiting.effects) == (DeliveryState.SENDING, ())
    done = take(waiting.delivery, DeadlineReached(), at(30))
    assert (done.delivery.by, done.effects) == (Evidence.PROVIDER, (Announce(),))


def test_a_receipt_in_waiting_outlives_what_the_provider_says_after_it() -> None:
    """Neither a refusal of another attempt nor an early rejection takes it back, in any order."""
    words = [
        receipt(14),
        said(OutcomeKind.REJECTED, 13, 1, 2),
        said(OutcomeKind.ACCEPTED, 12, 1, 2),
        said(OutcomeKind.REFUSED, 12, 1, 2, retry_after=5),
    ]
    for order in permutations(words):
        told = follow(sms_behind_silence(), [(14, word) for word in order]).delivery
        assert told.state is DeliveryState.SENDING
        assert told.steps[1].outcome is not None
        assert told.steps[1].outcome.kind is OutcomeKind.RECEIPTED
        assert take(told, DeadlineReached(), at(40)).delivery.by is Evidence.PROVIDER


def test_the_receipt_of_an_earlier_attempt_counts_when_the_later_one_fails() -> None:
    """An SMS was sent twice; that the device has the first one is no less true."""
    twice = follow(
        sms_behind_silence(), [(11, said(OutcomeKind.REFUSED, 11, 1, 2)), (15, DeadlineReached())]
    ).delivery
    assert twice.steps[1].attempt == 3
    words = [receipt(16, attempt=2), said(OutcomeKind.REJECTED, 16, 1, 3)]
    for order in permutations(words):
        told = follow(twice, [(16, word) for word in order]).delivery
        assert take(told, DeadlineReached(), at(45)).delivery.by is Evidence.PROVIDER


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("says", [OutcomeKind.ACCEPTED, OutcomeKind.RECEIPTED])
def test_a_refusal_of_the_device_beats_what_the_provider_said(
    kind: OutcomeKind, says: OutcomeKind
) -> None:
    """Before or after: what did not settle yet never will; stored again, or failed."""
    provider = said(says, 12, 1, 2)
    device = said(kind, 12)
    expected = DeliveryState.STORED if kind is OutcomeKind.COULD_NOT_WAKE else DeliveryState.FAILED
    for order in permutations((provider, device)):
        told = follow(sms_behind_silence(), [(12, word) for word in order]).delivery
        assert told.state is expected
        later = take(told, DeadlineReached(), at(40)).delivery
        assert (later.state, later.by) == (expected, None)
        late = take(later, replace(provider, at=at(41)), at(41)).delivery
        assert (late.state, late.by) == (expected, None)


def test_a_refusal_beats_an_acceptance_whose_window_has_ended() -> None:
    """An accepted SMS whose time is over waits for the connection behind it; the device, asked
    there, could not wake the app: the notification is stored.
    """
    both = planned(replace(SMS, start_after=0.0, ack_within=5.0), WEBSOCKET)
    waiting = follow(both, [(1, said(OutcomeKind.ACCEPTED, 1)), (5, DeadlineReached())]).delivery
    asleep = take(waiting, said(OutcomeKind.COULD_NOT_WAKE, 6, 1, 2), at(6)).delivery
    assert asleep.state is DeliveryState.STORED
    assert take(asleep, DeadlineReached(), at(3600)).delivery.state is DeliveryState.EXPIRED


def test_a_refusal_counts_after_the_plan_was_exhausted() -> None:
    """Stored without any answer in time; the device answers late, and the receipt after it."""
    stored = follow(planned(WEBSOCKET), [(10, DeadlineReached())]).delivery
    assert stored.reason == Reason.NOT_ACKNOWLEDGED
    late = take(stored, said(OutcomeKind.COULD_NOT_WAKE, 11), at(11)).delivery
    assert (late.state, late.reason) == (DeliveryState.STORED, Reason.COULD_NOT_WAKE)
    assert late.story[-1].what == "could_not_wake"


@pytest.mark.parametrize("kind", REFUSALS)
def test_delivered_by_provider_stays_and_the_story_tells_the_rest(kind: OutcomeKind) -> None:
    """A terminal state changes only to delivered: a later report of the device adds one line to the
    story.
    """
    done = take(planned(SMS), receipt(6, 0, 1), at(6)).delivery
    word = said(kind, 9, channel="websocket", detail="the app is busy")
    told = take(done, word, at(9))
    assert (told.delivery.state, told.delivery.by) == (DeliveryState.DELIVERED, Evidence.PROVIDER)
    assert told.delivery.settled_at == at(6)
    assert Announce() not in told.effects
    assert (RevokeToken() in told.effects) is (kind is OutcomeKind.NO_SUCH_APPLICATION)
    line = told.delivery.story[-1]
    assert (line.what, line.channel, line.detail) == (kind, "websocket", "the app is busy")
    assert not take(told.delivery, word, at(10)).changed
    device = take(told.delivery, said(OutcomeKind.ACKNOWLEDGED, 11), at(11))
    assert device.delivery.by is Evidence.DEVICE


def test_a_receipt_corrects_an_end_that_no_device_had_a_word_in() -> None:
    """Expired, and then the provider says that the device has it: delivered by provider."""
    expired = take(planned(WEBSOCKET, SMS, ttl=20), DeadlineReached(), at(10)).delivery
    expired = take(expired, DeadlineReached(), at(20)).delivery
    assert expired.state is DeliveryState.EXPIRED
    corrected = take(expired, receipt(21), at(21)).delivery
    assert (corrected.by, corrected.supersedes) == (Evidence.PROVIDER, DeliveryState.EXPIRED)


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_receipt_corrects_no_end_that_the_device_refused(kind: OutcomeKind) -> None:
    """Expired, then refused by the device: the end stands, whatever the provider says."""
    expired = take(planned(WEBSOCKET, SMS, ttl=20), DeadlineReached(), at(10)).delivery
    refused = follow(expired, [(20, DeadlineReached()), (21, said(kind, 21))]).delivery
    assert refused.state is DeliveryState.EXPIRED
    assert take(refused, receipt(22), at(22)).delivery.state is DeliveryState.EXPIRED


def test_a_new_plan_begins_without_the_refusal() -> None:
    """The device came back: what it refused before is tried again, and may be receipted now."""
    asleep = take(planned(SMS), said(OutcomeKind.COULD_NOT_WAKE, 1), at(1)).delivery
    again = take(replace(asleep, released=True), Planned((SMS,)), at(5)).delivery
    assert take(again, receipt(6, 0, 1), at(6)).delivery.state is DeliveryState.SENDING
    assert take(again, receipt(6, 0, 2), at(6)).delivery.by is Evidence.PROVIDER


def test_no_such_application_ends_no_token_that_may_be_registered_since() -> None:
    """The device came back since it was asked, so the app may be there again: it is asked anew, and
    its second answer ends the token.
    """
    gone = OutcomeKind.NO_SUCH_APPLICATION
    kept = take(planned(WEBSOCKET), said(gone, 1, returns=1), at(1))
    assert (kept.delivery.state, kept.effects) == (DeliveryState.STORED, (Announce(),))
    again = take(replace(kept.delivery, released=True), Planned((WEBSOCKET,), returns=1), at(2))
    assert again.delivery.current(0, 2)
    late = take(again.delivery, said(gone, 1, returns=1), at(3))
    assert not late.changed, "what it said of the first plan comes again, or late"
    assert RevokeToken() not in late.effects
    ended = take(again.delivery, said(gone, 4, attempt=2, returns=1), at(4))
    assert ended.delivery.state is DeliveryState.FAILED
    assert RevokeToken() in ended.effects


def test_no_such_application_now_or_never_expires() -> None:
    """ttl=0 is never stored: the delivery ends, the token may live."""
    over = take(
        planned(WEBSOCKET, ttl=10, storable=False),
        said(OutcomeKind.NO_SUCH_APPLICATION, 1, returns=1),
        at(1),
    )
    assert over.delivery.state is DeliveryState.EXPIRED
    assert RevokeToken() not in over.effects


def test_a_stronger_refusal_takes_the_place_of_a_weaker_one() -> None:
    """It could not wake the app, and then the app turned out to be gone: the latter is why."""
    asleep = take(planned(WEBSOCKET), said(OutcomeKind.COULD_NOT_WAKE, 1), at(1)).delivery
    gone = take(asleep, said(OutcomeKind.NO_SUCH_APPLICATION, 2, returns=1), at(2)).delivery
    assert (gone.state, gone.reason) == (DeliveryState.STORED, Reason.NO_SUCH_APPLICATION)
    weaker = take(gone, said(OutcomeKind.COULD_NOT_WAKE, 3), at(3)).delivery
    assert weaker.reason == Reason.NO_SUCH_APPLICATION


def test_a_refusal_at_the_moment_of_the_plan_is_about_it() -> None:
    """A device that names no attempt means the present plan, from the moment it was made."""
    delivery = planned(WEBSOCKET)
    word = said(OutcomeKind.COULD_NOT_WAKE, 0, attempt=None)
    assert take(delivery, word, at(0)).delivery.state is DeliveryState.STORED
    earlier = said(OutcomeKind.COULD_NOT_WAKE, -0.001, attempt=None)
    assert not take(delivery, earlier, at(0)).changed


def test_a_receipt_of_a_wake_up_corrects_no_end() -> None:
    """The device was asked to fetch, and did not: expired stays expired."""
    woken = planned(replace(SMS, wake_up=True), ttl=20)
    expired = take(woken, DeadlineReached(), at(20)).delivery
    assert take(expired, receipt(21, 0, 1), at(21)).delivery.state is DeliveryState.EXPIRED


def test_an_acceptance_counts_at_expiry() -> None:
    """The window is longer than the notification lives: at its expiry the provider is believed,
    although another step is under way.
    """
    connected = replace(WEBSOCKET, start_after=0.0, ack_within=60.0)
    both = planned(replace(SMS, start_after=0.0), connected, ttl=20)
    accepted = take(both, said(OutcomeKind.ACCEPTED, 1), at(1)).delivery
    ended = take(accepted, DeadlineReached(), at(20)).delivery
    assert (ended.by, ended.channel) == (Evidence.PROVIDER, "sms")


def test_a_plan_fails_for_the_reason_of_its_last_step() -> None:
    """The connection was lost, and the short message was rejected: that is why it is stored."""
    told = follow(
        planned(WEBSOCKET, SMS),
        [(1, said(OutcomeKind.ROUTE_LOST, 1)), (2, said(OutcomeKind.REJECTED, 2, 1, 2))],
    ).delivery
    assert (told.state, told.reason) == (DeliveryState.STORED, Reason.REFUSED)


def test_a_device_that_names_no_channel_leaves_the_providers() -> None:
    """Delivered by provider over SMS, then acknowledged over an unknown channel: the channel stays
    SMS.
    """
    done = take(planned(SMS), receipt(6, 0, 1), at(6)).delivery
    device = take(done, said(OutcomeKind.ACKNOWLEDGED, 9), at(9)).delivery
    assert (device.by, device.channel, device.settled_at) == (Evidence.DEVICE, "sms", at(9))


@pytest.mark.parametrize("one, other", list(permutations(REFUSALS, 2)))
def test_a_refusal_replaces_only_weaker_ones(one: OutcomeKind, other: OutcomeKind) -> None:
    """Could not wake, discarded, no such app: of two refusals the stronger stays with the steps."""
    facts = [(11, said(kind, 11, 1, 2, channel="sms")) for kind in (one, other)]
    refused = follow(sms_behind_silence(), facts).delivery
    stronger = max(one, other, key=REFUSALS.index)
    assert {step.over for step in refused.steps} == {Reason(stronger)}
