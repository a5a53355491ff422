"""The rules of one connection: deliveries, acknowledgements, the window, epochs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.gateway.protocol.effects import Effect, EndPresence, ReportOutcome
from aoi_events.gateway.protocol.session import DeviceSession, SessionState
from tests.support.device_frames import CLIENT, OTHER_CLIENT, ack, connected, delivery_id, hello
from tests.support.instant import INSTANT as NOW
from tests.unit.gateway.samples import closing, deliver, frames, new_session, open_session


def push(session: DeviceSession, *numbers: int, elapsed: float = 1.0) -> list[Effect]:
    """Hand these deliveries over."""
    return [
        effect
        for number in numbers
        for effect in session.deliver(deliver(number), elapsed=elapsed, now=NOW)
    ]


def outcomes(effects: list[Effect]) -> list[OutcomeItem]:
    """The reported outcomes."""
    return [effect.outcome for effect in effects if isinstance(effect, ReportOutcome)]


def sent(effects: list[Effect]) -> list[str]:
    """Which deliveries would be sent."""
    return [frame["delivery"] for frame in frames(effects) if frame["type"] == "notification"]


def acknowledge(session: DeviceSession, number: int, elapsed: float = 2.0) -> list[Effect]:
    """The device acknowledges a delivery."""
    return session.received(ack(number), elapsed=elapsed, now=NOW)


def test_a_notification_names_everything_that_the_device_needs() -> None:
    """The frame has delivery, attempt, token, app instance, content, urgency and expiry."""
    (frame,) = frames(push(open_session(), 1))
    assert frame == {
        "type": "notification",
        "delivery": delivery_id(1),
        "attempt": 1,
        "notification": "n-1",
        "token": "k1." + "T" * 40,
        "application": "mail",
        "instance": "default",
        "content": {"data": "content 1", "encoding": "utf-8", "type": "text/plain"},
        "urgency": "normal",
        "expires_at": f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
    }


def test_a_wake_up_has_no_content() -> None:
    """A wake-up is sent without content, and acknowledged like a notification."""
    session = open_session()
    (frame,) = frames(session.deliver(deliver(1, wake_up=True), elapsed=1.0, now=NOW))
    assert frame["type"] == "wake_up"
    assert "content" not in frame
    (outcome,) = outcomes(acknowledge(session, 1))
    assert outcome.step == 0


@pytest.mark.parametrize(
    "code,kind",
    [
        ("delivered", OutcomeKind.ACKNOWLEDGED),
        ("no_such_application", OutcomeKind.NO_SUCH_APPLICATION),
        ("could_not_wake", OutcomeKind.COULD_NOT_WAKE),
    ],
)
def test_an_acknowledgement_is_reported_with_step_and_attempt(code: str, kind: OutcomeKind) -> None:
    """An acknowledged attempt of this connection is reported with its step, attempt and channel."""
    session = open_session()
    session.deliver(deliver(1, step=2, attempt=5), elapsed=1.0, now=NOW)
    effects = session.received(ack(1, code=code, attempt=5), elapsed=2.0, now=NOW)
    (outcome,) = outcomes(effects)
    assert outcome == OutcomeItem(
        delivery=delivery_id(1),
        kind=kind,
        at=NOW,
        client=CLIENT,
        channel="websocket",
        step=2,
        attempt=5,
    )


@pytest.mark.parametrize(
    "frame,channel",
    [
        (ack(1, attempt=4), None),
        (ack(1, channel="sms"), "sms"),
        (ack(1, channel="sms", attempt=5), "sms"),
        (ack(9), None),
        (ack(9, attempt=10**30, channel="websocket"), "websocket"),
    ],
)
def test_other_acknowledgements_speak_for_the_delivery_only(
    frame: str, channel: str | None
) -> None:
    """Another attempt, another channel, nothing under way: client and delivery, no step."""
    session = open_session()
    session.deliver(deliver(1, attempt=5), elapsed=1.0, now=NOW)
    (outcome,) = outcomes(session.received(frame, elapsed=2.0, now=NOW))
    assert (outcome.client, outcome.channel) == (CLIENT, channel)
    assert (outcome.step, outcome.attempt) == (None, None)


def test_acknowledgements_of_what_was_sent_are_free() -> None:
    """A device that acknowledges thousands a second is not limited by the rate of frames."""
    session = open_session(frames_burst=1, frames_per_second=0.001)
    for number in range(1_000):
        push(session, number)
        assert closing(acknowledge(session, number)) is None
    assert session.state is SessionState.OPEN


def test_the_window_bounds_what_is_under_way_and_acknowledgements_move_it() -> None:
    """Beyond the window deliveries wait, in order; each acknowledgement lets the next one out."""
    session = open_session(window=2, backlog=2)
    assert sent(push(session, 1, 2, 3, 4)) == [delivery_id(1), delivery_id(2)]
    assert sent(acknowledge(session, 1)) == [delivery_id(3)]
    assert sent(acknowledge(session, 2)) == [delivery_id(4)]


def test_beyond_the_backlog_a_delivery_is_refused_for_now() -> None:
    """A delivery that does not fit the backlog is refused at once, for its own retries."""
    session = open_session(window=2, backlog=1)
    (outcome,) = outcomes(push(session, 1, 2, 3, 4))
    assert (outcome.kind, outcome.delivery) == (OutcomeKind.REFUSED, delivery_id(4))
    assert (outcome.step, outcome.attempt, outcome.epoch) == (0, 1, None)


def test_a_repeated_attempt_is_sent_once_and_a_new_one_again() -> None:
    """A message published twice is one frame; the next attempt is another."""
    session = open_session()
    assert sent(push(session, 1, 1)) == [delivery_id(1)]
    again = session.deliver(deliver(1, attempt=2), elapsed=2.0, now=NOW)
    assert frames(again)[0]["attempt"] == 2
    (outcome,) = outcomes(acknowledge(session, 1))
    assert outcome.attempt == 2
    assert outcomes(session.lost(now=NOW)) == []


def test_a_waiting_attempt_is_replaced_by_the_next() -> None:
    """Two attempts of one delivery never wait side by side."""
    session = open_session(window=1, backlog=1)
    push(session, 1, 2)
    assert session.deliver(deliver(2, attempt=2), elapsed=1.0, now=NOW) == []
    (frame,) = frames(acknowledge(session, 1))
    assert (frame["delivery"], frame["attempt"]) == (delivery_id(2), 2)


def test_what_the_device_got_elsewhere_is_not_sent_any_more() -> None:
    """An acknowledged delivery (for example, of its SMS) no longer waits."""
    session = open_session(window=1)
    push(session, 1, 2)
    session.received(ack(2, channel="sms"), elapsed=1.0, now=NOW)
    assert sent(acknowledge(session, 1)) == []


def test_places_of_the_never_acknowledged_are_given_up_in_time() -> None:
    """A device that loses frames does not lose its window for ever."""
    session = open_session(window=1, forget_after=60)
    push(session, 1, 2, elapsed=5.0)
    assert session.due() == 65.0
    assert session.tick(elapsed=64.0, now=NOW) == []
    assert sent(session.tick(elapsed=65.0, now=NOW)) == [delivery_id(2)]
    (late,) = outcomes(acknowledge(session, 1, elapsed=66.0))
    assert (late.kind, late.step) == (OutcomeKind.ACKNOWLEDGED, None)


def test_a_new_attempt_takes_a_new_place() -> None:
    """A delivery that was sent again is no more the oldest under way: its time begins anew."""
    session = open_session(window=3, forget_after=60)
    push(session, 1, elapsed=5.0)
    push(session, 2, elapsed=6.0)
    session.deliver(deliver(1, attempt=2), elapsed=7.0, now=NOW)
    assert session.due() == 66.0


def test_nothing_expired_is_sent() -> None:
    """Expiry is checked on arrival and again when a place in the window is free."""
    session = open_session(window=1)
    late = NOW + timedelta(seconds=30)
    assert session.deliver(deliver(1, expires_at=NOW), elapsed=1.0, now=NOW) == []
    push(session, 2)
    session.deliver(deliver(3, expires_at=late), elapsed=1.0, now=NOW)
    push(session, 4)
    effects = session.received(ack(2), elapsed=31.0, now=late)
    assert sent(effects) == [delivery_id(4)]


@pytest.mark.parametrize("change", [{"epoch": 0}, {"epoch": None}, {"client": OTHER_CLIENT}])
def test_a_delivery_for_an_older_epoch_or_other_client_is_route_lost(
    change: dict[str, object],
) -> None:
    """A delivery for another session is not sent, and is reported at once with its epoch."""
    item = deliver(1, **change)
    (outcome,) = outcomes(open_session().deliver(item, elapsed=1.0, now=NOW))
    assert outcome == OutcomeItem(
        delivery=item.delivery,
        kind=OutcomeKind.ROUTE_LOST,
        at=NOW,
        client=item.client,
        channel="websocket",
        step=0,
        attempt=1,
        epoch=item.epoch,
    )


def test_a_session_that_ends_says_so_of_everything_under_way() -> None:
    """Sent and waiting deliveries are reported as route lost before the presence ends."""
    session = open_session(window=1)
    push(session, 1, 2)
    effects = session.lost(now=NOW)
    assert [(each.kind, each.delivery, each.epoch) for each in outcomes(effects)] == [
        (OutcomeKind.ROUTE_LOST, delivery_id(1), 1),
        (OutcomeKind.ROUTE_LOST, delivery_id(2), 1),
    ]
    assert effects[-1] == EndPresence(CLIENT, 1)
    (late,) = outcomes(push(session, 3))
    assert late.kind is OutcomeKind.ROUTE_LOST


def test_deliveries_that_overtake_the_admission_wait_for_it() -> None:
    """A worker may send before its answer arrived: those of the epoch go out after the welcome."""
    session = new_session()
    session.received(hello(), elapsed=0.0, now=NOW)
    assert push(session, 1) == []
    assert session.deliver(deliver(2, epoch=2), elapsed=0.0, now=NOW) == []
    effects = session.admitted(connected(2), elapsed=0.0, now=NOW)
    assert [frame["type"] for frame in frames(effects)] == ["welcome", "notification"]
    assert sent(effects) == [delivery_id(2)]
    (stranger,) = outcomes(effects)
    assert (stranger.kind, stranger.delivery) == (OutcomeKind.ROUTE_LOST, delivery_id(1))


def test_a_refused_admission_gives_waiting_deliveries_back() -> None:
    """Deliveries for a session that was not admitted are reported as lost."""
    session = new_session()
    session.received(hello(), elapsed=0.0, now=NOW)
    push(session, 1)
    (outcome,) = outcomes(session.hello_refused("unauthenticated", now=NOW))
    assert outcome.kind is OutcomeKind.ROUTE_LOST


def test_between_epochs_deliveries_for_the_next_one_wait() -> None:
    """After the node's name changed, the new epoch's deliveries wait for its announcement."""
    session = open_session()
    session.node_renamed()
    assert session.deliver(deliver(1, epoch=2), elapsed=1.0, now=NOW) == []
    assert sent(session.announced(2, elapsed=1.0, now=NOW)) == [delivery_id(1)]
    assert session.epoch == 2
    (old,) = outcomes(push(session, 3))
    assert (old.kind, old.epoch) == (OutcomeKind.ROUTE_LOST, 1)


@pytest.mark.parametrize("epoch,expected", [(1, False), (2, True), (3, True)])
def test_no_deliveries_of_an_older_epoch_are_sent(epoch: int, *, expected: bool) -> None:
    """Those are lost. Workers that restored a presence may start steps under its new epoch before
    the gateway has their answer.
    """
    session = open_session()
    session.node_renamed()
    session.announced(2, elapsed=1.0, now=NOW)
    effects = session.deliver(deliver(1, epoch=epoch), elapsed=1.0, now=NOW)
    assert sent(effects) == ([delivery_id(1)] if expected else [])
    assert [each.epoch for each in outcomes(effects)] == ([] if expected else [epoch])


def test_between_epochs_only_the_next_one_is_waited_for() -> None:
    """An epoch that is over is lost at once, the present one when the next begins."""
    session = open_session()
    session.node_renamed()
    session.announced(2, elapsed=1.0, now=NOW)
    session.node_renamed()
    (older,) = outcomes(session.deliver(deliver(1, epoch=1), elapsed=2.0, now=NOW))
    assert (older.kind, older.epoch) == (OutcomeKind.ROUTE_LOST, 1)
    for epoch in (2, 3):
        assert session.deliver(deliver(epoch, epoch=epoch), elapsed=2.0, now=NOW) == []
    effects = session.announced(3, elapsed=3.0, now=NOW)
    assert sent(effects) == [delivery_id(3)]
    assert [(each.delivery, each.epoch) for each in outcomes(effects)] == [(delivery_id(2), 2)]


@pytest.mark.parametrize("epoch", [1, 3])
def test_what_waited_for_another_admission_is_route_lost(epoch: int) -> None:
    """Deliveries that waited for another epoch than the answer's are reported as lost."""
    session = new_session()
    session.received(hello(), elapsed=0.0, now=NOW)
    assert session.deliver(deliver(1, epoch=epoch), elapsed=0.0, now=NOW) == []
    effects = session.admitted(connected(2), elapsed=0.0, now=NOW)
    assert sent(effects) == []
    assert [each.epoch for each in outcomes(effects)] == [epoch]


def test_an_admission_that_is_out_of_date_begins_between_epochs() -> None:
    """The node's name changed while the workers looked: the device is welcomed, and what was sent
    under the old name waits for the announcement, which says that it is lost.
    """
    session = new_session()
    session.received(hello(), elapsed=0.0, now=NOW)
    effects = session.admitted(connected(), elapsed=0.0, now=NOW, current=False)
    assert [frame["type"] for frame in frames(effects)] == ["welcome"]
    for epoch in (1, 2):
        assert session.deliver(deliver(epoch, epoch=epoch), elapsed=1.0, now=NOW) == []
    effects = session.announced(2, elapsed=1.0, now=NOW)
    assert sent(effects) == [delivery_id(2)]
    assert [each.epoch for each in outcomes(effects)] == [1]


def test_an_announcement_that_is_out_of_date_keeps_the_session_between_epochs() -> None:
    """The name changed again meanwhile: the epoch counts, deliveries go on waiting."""
    session = open_session()
    session.node_renamed()
    assert session.announced(2, elapsed=1.0, now=NOW, current=False) == []
    assert session.deliver(deliver(1, epoch=3), elapsed=1.0, now=NOW) == []
    assert sent(session.announced(3, elapsed=1.0, now=NOW)) == [delivery_id(1)]


def test_an_announcement_after_the_end_gives_its_epoch_up() -> None:
    """The device left while its session was announced."""
    session = open_session()
    session.node_renamed()
    session.lost(now=NOW)
    assert session.announced(2, elapsed=1.0, now=NOW) == [EndPresence(CLIENT, 2)]
