"""8.1.3 Application Client Registration (empty in the seed; the design fills it in)."""

from __future__ import annotations

from aoi_events.client.core.events import ApplicationDeregistered, ApplicationRegistered
from aoi_events.client.core.inputs import (
    ApplicationAsked,
    ApplicationLeft,
    Closed,
    Started,
    Unanswered,
)
from aoi_events.client.core.transition import IN_FLIGHT_LIMIT
from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.device import AnswerFrame
from tests.unit.client.rehearsal import MAIL, Rehearsal, notification

KEY = f"{MAIL}/default"
SENDER_KEYS = ("B" + "A" * 86, "B" + "A" * 85 + "E")


def asking() -> Rehearsal:
    """A registered device whose first app has just asked."""
    rehearsal = Rehearsal()
    rehearsal.play(Started())
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.register()
    return rehearsal


def test_an_application_gets_and_keeps_a_token() -> None:
    """One app instance on the client gets a token, which survives a restart."""
    rehearsal = asking()
    [request] = rehearsal.requests("application.register")
    assert (request.body["application"], request.body["instance"]) == (MAIL, "default")
    answer = ApplicationRegisteredV1(token="k.token-1", sequence=1)
    rehearsal.answer("application.register", answer)
    assert rehearsal.told(ApplicationRegistered)[-1].changed
    rehearsal.restart()
    assert rehearsal.stored.applications[KEY].token == "k.token-1"


def test_registration_is_repeated_when_the_app_starts() -> None:
    """Apps repeat their registration when they start, so the server sends what it stored."""
    rehearsal = asking()
    rehearsal.serve()
    rehearsal.restart()
    rehearsal.connect()
    assert len(rehearsal.requests("application.register")) == 1
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    assert [r.body["sequence"] for r in rehearsal.requests("application.register")] == [1, 2]
    rehearsal.serve()
    assert not rehearsal.told(ApplicationRegistered)[-1].changed


def test_a_token_can_be_for_one_sender_only() -> None:
    """The sender's key goes with each registration, also when the app starts without naming it;
    another key is another token, and an answer for the old key does not bring the old one back.
    """
    rehearsal = asking()
    number, _ = rehearsal.pending("application.register")
    rehearsal.play(ApplicationAsked(MAIL, "default", SENDER_KEYS[0]))
    body = {"version": 1, "token": "k.anybodys", "sequence": 1}
    rehearsal.receive(AnswerFrame(id=number, name="application.registered.v1", body=body))
    assert rehearsal.stored.applications[KEY].token is None
    rehearsal.serve()
    bound = rehearsal.stored.applications[KEY].token
    assert bound is not None
    rehearsal.restart()
    rehearsal.connect()
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.serve()
    assert rehearsal.stored.applications[KEY].token is not None
    rehearsal.play(ApplicationAsked(MAIL, "default", SENDER_KEYS[1]))
    assert rehearsal.stored.applications[KEY].token is None, "it will be another one"
    rehearsal.play(ApplicationLeft(KEY))
    rehearsal.serve()
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    keys = [each.body.get("sender_key") for each in rehearsal.requests("application.register")]
    assert keys == [None, SENDER_KEYS[0], SENDER_KEYS[0], SENDER_KEYS[1], None]


def test_a_start_while_the_registration_is_under_way_is_told_after_it() -> None:
    """The server stores what an app could not take; if that app starts again before the answer to
    its last registration is there, the server hears of the start all the same, once.
    """
    rehearsal = asking()
    for _ in range(3):
        rehearsal.play(ApplicationAsked(MAIL, "default"))
    assert [r.body["sequence"] for r in rehearsal.requests("application.register")] == [1]
    rehearsal.serve()
    assert [r.body["sequence"] for r in rehearsal.requests("application.register")] == [1, 2]
    assert not rehearsal.stored.applications[KEY].due


def test_goes_above_the_stored_sequence() -> None:
    """An answer with applied=false gives no token, and the client goes on above its number."""
    rehearsal = asking()
    answer = ApplicationRegisteredV1(token="k.stale-token", sequence=9, applied=False)
    rehearsal.answer("application.register", answer)
    assert rehearsal.stored.applications[KEY].token is None
    assert rehearsal.requests("application.register")[-1].body["sequence"] == 10


def test_nonsense_sequence_does_not_loop() -> None:
    """A server that does not apply and names a lower or an impossible number is not asked on."""
    for sequence in (0, 2**53):
        rehearsal = asking()
        answer = ApplicationRegisteredV1(sequence=sequence, applied=False)
        rehearsal.answer("application.register", answer)
        assert len(rehearsal.requests("application.register")) == 1


def test_lost_answer_is_asked_for_again() -> None:
    """A registration without an answer is repeated: on the connection, and on the next one."""
    rehearsal = asking()
    number, _ = rehearsal.pending("application.register")
    rehearsal.receive(notification(1, "k.unknown-token"))
    rehearsal.play(Unanswered(rehearsal.generation, number))
    rehearsal.play(Closed(rehearsal.generation, None, "lost"))
    rehearsal.connect()
    assert [r.body["sequence"] for r in rehearsal.requests("application.register")] == [1, 2, 3]


def test_deregistration_voids_the_token_at_once() -> None:
    """A token given up is void on the device before the server knows; the server is told."""
    rehearsal = asking()
    rehearsal.serve()
    rehearsal.play(ApplicationLeft(KEY))
    assert rehearsal.stored.applications[KEY].token is None
    answer = ApplicationDeregisteredV1(sequence=2)
    rehearsal.answer("application.deregister", answer)
    assert rehearsal.told(ApplicationDeregistered) == [ApplicationDeregistered(MAIL, "default")]
    assert not rehearsal.stored.applications[KEY].due


def test_deregistration_without_a_connection_is_made_up_for() -> None:
    """A deregistration while offline is stored, and sent at the next connection."""
    rehearsal = asking()
    rehearsal.serve()
    rehearsal.play(Closed(rehearsal.generation, None, "lost"))
    rehearsal.play(ApplicationLeft(KEY))
    rehearsal.restart()
    rehearsal.connect()
    assert len(rehearsal.requests("application.deregister")) == 1


def test_deregistration_of_what_the_server_does_not_know() -> None:
    """The answer "not found" ends a deregistration as well as success does."""
    rehearsal = asking()
    rehearsal.serve()
    rehearsal.play(ApplicationLeft(KEY))
    refusal = RefusedV1(code="not_found", message="no such application")
    rehearsal.answer("application.deregister", refusal)
    assert not rehearsal.stored.applications[KEY].due


def test_an_app_that_changes_its_mind_ends_as_it_wants() -> None:
    """Register, leave and register again: late answers do not bring back what was given up."""
    rehearsal = asking()
    rehearsal.play(ApplicationLeft(KEY))
    answer = ApplicationRegisteredV1(token="k.token-1", sequence=1)
    rehearsal.answer("application.register", answer)
    assert rehearsal.stored.applications[KEY].token is None
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    sequences = [
        (r.name, r.body["sequence"])
        for r in rehearsal.requests("application.deregister")
        + rehearsal.requests("application.register")
    ]
    assert sequences == [
        ("application.deregister", 2),
        ("application.register", 1),
        ("application.register", 3),
    ]
    rehearsal.serve()
    assert rehearsal.stored.applications[KEY].token is not None


def test_refused_application_is_told_and_asked_for_when_it_asks_again() -> None:
    """A refusal reaches whoever waits, and is not repeated by itself on this connection."""
    rehearsal = asking()
    refusal = RefusedV1(code="quota_exceeded", message="too many apps")
    rehearsal.answer("application.register", refusal)
    assert rehearsal.view.refusals[KEY].code == "quota_exceeded"
    assert len(rehearsal.requests("application.register")) == 1
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    assert rehearsal.view.refusals == {}
    assert len(rehearsal.requests("application.register")) == 2


def test_many_applications_do_not_flood_the_gateway() -> None:
    """Only a few requests are under way at once; the rest follow as answers come."""
    rehearsal = Rehearsal()
    rehearsal.play(Started())
    for number in range(30):
        rehearsal.play(ApplicationAsked(f"app{number}", "default"))
    rehearsal.register()
    assert len(rehearsal.view.link.in_flight) == IN_FLIGHT_LIMIT
    rehearsal.serve()
    assert all(r.token and not r.due for r in rehearsal.stored.applications.values())
    assert rehearsal.stored.active == {"websocket", "sms"}
