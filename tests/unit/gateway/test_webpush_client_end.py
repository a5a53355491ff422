"""The end of the client of a browser that lost notifications: after those that are stored."""

from __future__ import annotations

from typing import Any

from aoi_events.contracts.answers import ClientDeregisteredV1
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.requests import DeregisterClientV1
from aoi_events.gateway.protocol.effects import Effect, ForwardRequest
from aoi_events.gateway.protocol.webpush import WebPushSession
from tests.support.browser_frames import UAID, ack, hello
from tests.support.device_frames import CLIENT, connected
from tests.support.instant import INSTANT as NOW
from tests.unit.gateway.browsers import (
    ACTIVATED,
    admit,
    answer,
    asked,
    new_session,
    push,
    receive,
    refused,
    subscribing,
    unregistered,
)
from tests.unit.gateway.samples import closing, frames


def open_with_losses(**settings: Any) -> WebPushSession:
    """The open session of a browser that lost notifications, since a hello at 1 s."""
    session = new_session(**settings)
    receive(session, hello())
    session.admitted(connected(client=CLIENT, lost=3), elapsed=1.0, now=NOW)
    return session


def ending(effects: list[Effect]) -> DeregisterClientV1:
    """The only effect, which is the request to end the client."""
    request = parse_request(asked(effects).name, asked(effects).body)
    assert isinstance(request, DeregisterClientV1)
    return request


def test_a_browser_that_lost_notifications_gets_the_others_first() -> None:
    """Its client ends when the workers have nothing more for it, and then its connection; it keeps
    the uaid until then.
    """
    session = new_session()
    receive(session, hello())
    session.deliver(push(1, epoch=4), elapsed=1.0, now=NOW)
    reply, notification = session.admitted(
        connected(4, client=CLIENT, lost=3), elapsed=1.0, now=NOW
    )
    assert frames([reply])[0]["uaid"] == UAID
    assert frames([notification])[0]["messageType"] == "notification"
    assert session.due() == 2.0
    assert session.tick(elapsed=2.0, now=NOW) == [], "a notification is in flight"
    receive(session, ack(1), elapsed=2.5)
    effects = session.tick(elapsed=3.0, now=NOW)
    assert ending(effects).drained
    assert session.tick(elapsed=9.0, now=NOW) == [], "the workers are asked once at a time"
    assert refused(session, asked(effects), "conflict") == []
    assert session.due() == 2.0, "one second after the answer"
    effects = session.tick(elapsed=10.0, now=NOW)
    assert ending(effects).drained
    gone = ClientDeregisteredV1(client=CLIENT)
    assert closing(answer(session, asked(effects), "client.deregistered.v1", gone)) == 1000


def test_a_browser_that_lost_notifications_and_does_not_acknowledge_begins_anew() -> None:
    """Its client ends some time after the last acknowledgement, whatever is stored for it."""
    session = open_with_losses(forget_after=60)
    for number in (1, 2):
        session.deliver(push(number), elapsed=1.0, now=NOW)
    assert session.tick(elapsed=2.0, now=NOW) == []
    receive(session, ack(1), elapsed=30.0)
    assert session.tick(elapsed=31.0, now=NOW) == []
    session.deliver(push(3), elapsed=80.0, now=NOW)
    assert session.tick(elapsed=89.9, now=NOW) == []
    effects = session.tick(elapsed=91.0, now=NOW)
    assert ending(effects).drained is None
    assert session.unanswered(asked(effects).id, elapsed=100.0, now=NOW) == []
    assert ending(session.tick(elapsed=101.0, now=NOW)).drained is None


def test_a_browser_that_lost_notifications_waits_for_slow_workers() -> None:
    """While nothing is in flight the client ends only when nothing is stored; after ten times the
    time for an acknowledgement it ends all the same.
    """
    session = open_with_losses(forget_after=60)
    for elapsed in (100.0, 600.9):
        effects = session.tick(elapsed=elapsed, now=NOW)
        assert ending(effects).drained
        assert refused(session, asked(effects), "conflict") == []
    assert ending(session.tick(elapsed=601.0, now=NOW)).drained is None


def test_a_browser_that_lost_notifications_begins_anew_while_others_come() -> None:
    """Notifications that never cease do not put off the end of its client for ever."""
    session = open_with_losses(forget_after=60)
    for number in range(1, 41):
        elapsed = 15.0 * number
        session.deliver(push(number), elapsed=elapsed, now=NOW)
        assert session.tick(elapsed=elapsed, now=NOW) == []
        receive(session, ack(number), elapsed=elapsed)
    session.deliver(push(41), elapsed=601.0, now=NOW)
    assert ending(session.tick(elapsed=601.0, now=NOW)).drained is None


def test_the_client_of_a_first_subscription_lost_nothing() -> None:
    """A client that was registered on this connection does not end, whatever the answer says."""
    session = unregistered()
    answer(session, subscribing(session), *ACTIVATED)
    assert [each.name for each in admit(session, lost=1) if isinstance(each, ForwardRequest)] == [
        "application.register"
    ]
    assert session.due() is None
