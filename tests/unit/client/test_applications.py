"""8.1.3 Application Client Registration."""

from __future__ import annotations

from aoi_events.client.core.events import ApplicationDeregistered, ApplicationRegistered
from aoi_events.client.core.inputs import (
    ApplicationRemoved,
    ApplicationStarted,
    ClientStarted,
    ConnectionClosed,
    RequestTimedOut,
)
from aoi_events.client.core.transition import IN_FLIGHT_LIMIT
from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.device import AnswerFrame
from tests.unit.client.device_harness import MAIL, DeviceHarness, notification

KEY = f"{MAIL}/default"
SENDER_KEYS = ("B" + "A" * 86, "B" + "A" * 85 + "E")


def asking() -> DeviceHarness:
    """A registered device whose first app has started, and is not registered yet."""
    device = DeviceHarness()
    device.feed(ClientStarted())
    device.feed(ApplicationStarted(MAIL, "default"))
    device.register()
    return device


def test_an_application_gets_and_keeps_a_token() -> None:
    """One app instance on the client gets a token, which survives a restart."""
    device = asking()
    [request] = device.requests("application.register")
    assert (request.body["application"], request.body["instance"]) == (MAIL, "default")
    answer = ApplicationRegisteredV1(token="k.token-1", sequence=1)
    device.answer("application.register", answer)
    assert device.emitted(ApplicationRegistered)[-1].changed
    device.restart()
    assert device.stored.applications[KEY].token == "k.token-1"


def test_registration_is_repeated_when_the_app_starts() -> None:
    """Apps repeat their registration when they start, so the server sends what it stored."""
    device = asking()
    device.serve()
    device.restart()
    device.connect()
    assert len(device.requests("application.register")) == 1
    device.feed(ApplicationStarted(MAIL, "default"))
    assert [r.body["sequence"] for r in device.requests("application.register")] == [1, 2]
    device.serve()
    assert not device.emitted(ApplicationRegistered)[-1].changed


def test_a_token_can_be_for_one_sender_only() -> None:
    """The sender's key goes with each registration, also when the app starts without naming it;
    another key is another token, and an answer for the old key does not bring the old one back.
    """
    device = asking()
    number, _ = device.pending("application.register")
    device.feed(ApplicationStarted(MAIL, "default", SENDER_KEYS[0]))
    body = {"version": 1, "token": "k.anybodys", "sequence": 1}
    device.receive(AnswerFrame(id=number, name="application.registered.v1", body=body))
    assert device.stored.applications[KEY].token is None
    device.serve()
    bound = device.stored.applications[KEY].token
    assert bound is not None
    device.restart()
    device.connect()
    device.feed(ApplicationStarted(MAIL, "default"))
    device.serve()
    assert device.stored.applications[KEY].token is not None
    device.feed(ApplicationStarted(MAIL, "default", SENDER_KEYS[1]))
    assert device.stored.applications[KEY].token is None, "it will be another one"
    device.feed(ApplicationRemoved(KEY))
    device.serve()
    device.feed(ApplicationStarted(MAIL, "default"))
    keys = [each.body.get("sender_key") for each in device.requests("application.register")]
    assert keys == [None, SENDER_KEYS[0], SENDER_KEYS[0], SENDER_KEYS[1], None]


def test_a_start_while_the_registration_is_under_way_is_told_after_it() -> None:
    """The server stores what an app could not take; if that app starts again before the answer to
    its last registration is there, the server hears of the start all the same, once.
    """
    device = asking()
    for _ in range(3):
        device.feed(ApplicationStarted(MAIL, "default"))
    assert [r.body["sequence"] for r in device.requests("application.register")] == [1]
    device.serve()
    assert [r.body["sequence"] for r in device.requests("application.register")] == [1, 2]
    assert not device.stored.applications[KEY].due


def test_goes_above_the_stored_sequence() -> None:
    """An answer with applied=false gives no token, and the client goes on above its number."""
    device = asking()
    answer = ApplicationRegisteredV1(token="k.stale-token", sequence=9, applied=False)
    device.answer("application.register", answer)
    assert device.stored.applications[KEY].token is None
    assert device.requests("application.register")[-1].body["sequence"] == 10


def test_nonsense_sequence_does_not_loop() -> None:
    """A server that does not apply and names a lower or an impossible number is not asked on."""
    for sequence in (0, 2**53):
        device = asking()
        answer = ApplicationRegisteredV1(sequence=sequence, applied=False)
        device.answer("application.register", answer)
        assert len(device.requests("application.register")) == 1


def test_lost_answer_is_asked_for_again() -> None:
    """A registration without an answer is repeated: on the connection, and on the next one."""
    device = asking()
    number, _ = device.pending("application.register")
    device.receive(notification(1, "k.unknown-token"))
    device.feed(RequestTimedOut(device.generation, number))
    device.feed(ConnectionClosed(device.generation, None, "lost"))
    device.connect()
    assert [r.body["sequence"] for r in device.requests("application.register")] == [1, 2, 3]


def test_deregistration_voids_the_token_at_once() -> None:
    """After a deregistration the token is void on the device at once; the server is informed."""
    device = asking()
    device.serve()
    device.feed(ApplicationRemoved(KEY))
    assert device.stored.applications[KEY].token is None
    answer = ApplicationDeregisteredV1(sequence=2)
    device.answer("application.deregister", answer)
    assert device.emitted(ApplicationDeregistered) == [ApplicationDeregistered(MAIL, "default")]
    assert not device.stored.applications[KEY].due


def test_deregistration_without_a_connection_is_made_up_for() -> None:
    """A deregistration while offline is stored, and sent at the next connection."""
    device = asking()
    device.serve()
    device.feed(ConnectionClosed(device.generation, None, "lost"))
    device.feed(ApplicationRemoved(KEY))
    device.restart()
    device.connect()
    assert len(device.requests("application.deregister")) == 1


def test_deregistration_of_what_the_server_does_not_know() -> None:
    """The answer "not found" ends a deregistration as well as success does."""
    device = asking()
    device.serve()
    device.feed(ApplicationRemoved(KEY))
    refusal = RefusedV1(code="not_found", message="no such application")
    device.answer("application.deregister", refusal)
    assert not device.stored.applications[KEY].due


def test_an_app_that_changes_its_mind_ends_as_it_wants() -> None:
    """After register, deregister and register again, late answers do not restore the old token."""
    device = asking()
    device.feed(ApplicationRemoved(KEY))
    answer = ApplicationRegisteredV1(token="k.token-1", sequence=1)
    device.answer("application.register", answer)
    assert device.stored.applications[KEY].token is None
    device.feed(ApplicationStarted(MAIL, "default"))
    sequences = [
        (r.name, r.body["sequence"])
        for r in device.requests("application.deregister") + device.requests("application.register")
    ]
    assert sequences == [
        ("application.deregister", 2),
        ("application.register", 1),
        ("application.register", 3),
    ]
    device.serve()
    assert device.stored.applications[KEY].token is not None


def test_refused_application_is_told_and_asked_for_when_it_asks_again() -> None:
    """A refusal is reported to the caller, and the request is not repeated on this connection."""
    device = asking()
    refusal = RefusedV1(code="quota_exceeded", message="too many apps")
    device.answer("application.register", refusal)
    assert device.model.refusals[KEY].code == "quota_exceeded"
    assert len(device.requests("application.register")) == 1
    device.feed(ApplicationStarted(MAIL, "default"))
    assert device.model.refusals == {}
    assert len(device.requests("application.register")) == 2


def test_many_applications_do_not_flood_the_gateway() -> None:
    """Only a few requests are under way at once; the rest follow as answers come."""
    device = DeviceHarness()
    device.feed(ClientStarted())
    for number in range(30):
        device.feed(ApplicationStarted(f"app{number}", "default"))
    device.register()
    assert len(device.model.connection.in_flight) == IN_FLIGHT_LIMIT
    device.serve()
    assert all(r.token and not r.due for r in device.stored.applications.values())
    assert device.stored.active == {"websocket", "sms"}
