"""8.1.1 AOI Client Registration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aoi_events.client.core.effects import Close, Open, Send, Store
from aoi_events.client.core.events import Disconnected, Registered, RegistrationStarted
from aoi_events.client.core.inputs import (
    ApplicationAsked,
    Closed,
    IdentityChanged,
    Input,
    NetworkChanged,
    ReconnectAsked,
    Started,
    Unanswered,
)
from aoi_events.contracts.answers import ClientRegisteredV1, RefusedV1
from aoi_events.contracts.device import CloseCode, HelloFrame
from tests.unit.client.rehearsal import CELLULAR, MAIL, Rehearsal, token_of

OTHER = "cli_" + "b" * 26


def registered(**settings: object) -> Rehearsal:
    """A device with one registered app and active channels."""
    rehearsal = Rehearsal(**settings)
    rehearsal.play(Started())
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.register()
    rehearsal.serve()
    return rehearsal


def test_registers_upon_installation() -> None:
    """8.1.1: "Upon installation/activation of the AOI Client […] SHALL issue […] a request"."""
    rehearsal = Rehearsal(register_on="install")
    rehearsal.play(Started())
    rehearsal.open()
    [request] = rehearsal.requests("client.register")
    assert request.body["identity"] == "tel:+15550100"
    assert request.body["device"] == "phone-1"
    assert "previous" not in request.body


def test_policy_can_wait_for_the_first_application() -> None:
    """8.1.1: "The trigger […] might depend on deployment policy": nothing happens before an app."""
    rehearsal = Rehearsal(register_on="first_application")
    rehearsal.play(Started())
    assert rehearsal.effects == []


def test_registers_when_an_application_asks_while_unregistered() -> None:
    """8.1.1: an app's request "whilst the AOI Client is not registered": it SHALL register."""
    rehearsal = Rehearsal(register_on="first_application")
    rehearsal.play(Started())
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.open()
    assert len(rehearsal.requests("client.register")) == 1


def test_secret_is_stored_before_it_is_sent() -> None:
    """The secret is on the disk before a connection is even made, so no kill can lose an ID."""
    rehearsal = Rehearsal(register_on="install")
    effects = rehearsal.play(Started())
    assert isinstance(effects[0], Store)
    assert effects[0].stored.credentials is not None
    assert not any(isinstance(effect, Send) for effect in effects)
    assert isinstance(effects[-1], Open)


def test_stores_the_assigned_id() -> None:
    """8.1.1: "the AOI Client SHALL store the assigned AOI Client ID for use in future requests"."""
    rehearsal = Rehearsal(register_on="install")
    rehearsal.play(Started())
    rehearsal.open()
    effects = rehearsal.answer("client.register", ClientRegisteredV1(client=OTHER))
    assert rehearsal.stored.client == OTHER
    [hello] = [e.frame for e in effects if isinstance(e, Send)]
    assert isinstance(hello, HelloFrame)
    assert hello.client == OTHER
    assert rehearsal.told(Registered) == [Registered(OTHER, None)]


def test_repeats_the_same_request_until_answered() -> None:
    """A request without an answer is repeated with the same secret, also after a restart."""
    rehearsal = Rehearsal(register_on="install")
    rehearsal.play(Started())
    rehearsal.open()
    number, _ = rehearsal.pending("client.register")
    rehearsal.play(Unanswered(rehearsal.generation, number))
    rehearsal.open()
    rehearsal.play(Closed(rehearsal.generation, None, "lost"))
    rehearsal.open()
    rehearsal.restart()
    rehearsal.open()
    hashes = [request.body["secret_hash"] for request in rehearsal.requests("client.register")]
    assert len(hashes) == 4
    assert len(set(hashes)) == 1


def test_changed_identity_registers_anew() -> None:
    """8.1.1: upon "any event that changes the identity of the user […] SHALL issue a new […]"."""
    rehearsal = registered()
    old = rehearsal.stored
    assert old.credentials is not None
    effects = rehearsal.play(IdentityChanged("tel:+15550199"))
    assert any(isinstance(effect, Close) for effect in effects)
    rehearsal.open()
    request = rehearsal.requests("client.register")[-1]
    assert request.body["identity"] == "tel:+15550199"
    assert request.body["previous"] == {"client": old.client, "secret": old.credentials.secret}
    assert rehearsal.stored.credentials is not None
    assert rehearsal.stored.credentials.secret != old.credentials.secret


def test_changed_identity_gives_apps_new_tokens_and_activates() -> None:
    """After the new ID the old one is dropped, apps get new tokens, and channels are activated."""
    rehearsal = registered()
    old = rehearsal.stored
    rehearsal.play(IdentityChanged("tel:+15550199"))
    assert rehearsal.stored.of_token(token_of(old.client or "", MAIL, "default")) is None
    rehearsal.register()
    assert rehearsal.told(Registered)[-1].retired == old.client
    rehearsal.serve()
    now = rehearsal.stored
    assert now.previous is None
    assert now.client != old.client
    token = now.applications[f"{MAIL}/default"].token
    assert token == token_of(now.client or "", MAIL, "default")
    assert now.active == {"websocket", "sms"}
    assert len(rehearsal.requests("channel.activate")) == 2


def test_identity_that_changed_while_the_client_was_off() -> None:
    """A start with another identity than the stored one registers anew."""
    rehearsal = registered()
    rehearsal.view = replace(rehearsal.view, identity="sip:bob@example.org")
    rehearsal.restart()
    rehearsal.open()
    assert rehearsal.requests("client.register")[-1].body["identity"] == "sip:bob@example.org"


def test_identity_that_changes_twice_keeps_the_last_confirmed_proof() -> None:
    """A second change before the first was answered still proves the last confirmed ID."""
    rehearsal = registered()
    old = rehearsal.stored
    rehearsal.play(IdentityChanged("tel:+15550199"))
    rehearsal.open()
    rehearsal.play(IdentityChanged("tel:+15550188"))
    rehearsal.open()
    first, second = rehearsal.requests("client.register")[-2:]
    assert first.body["secret_hash"] != second.body["secret_hash"]
    assert second.body["previous"]["client"] == old.client


def test_same_id_again_keeps_what_belongs_to_it() -> None:
    """With proof and the same identity the server refreshes the ID: channels stay as they are."""
    rehearsal = registered()
    old = rehearsal.stored
    rehearsal.play(Closed(rehearsal.generation, CloseCode.UNAUTHENTICATED, "who?"))
    rehearsal.open()
    assert old.client is not None
    rehearsal.answer("client.register", ClientRegisteredV1(client=old.client))
    rehearsal.welcome()
    assert rehearsal.stored.client == old.client
    assert rehearsal.stored.applications == old.applications
    assert rehearsal.stored.channels == old.channels
    assert len(rehearsal.requests("channel.activate")) == 1


@pytest.mark.parametrize("code", [CloseCode.RETIRED, CloseCode.UNAUTHENTICATED])
def test_retired_or_unknown_client_registers_again(code: CloseCode) -> None:
    """A session that ends with "retired" or "unauthenticated" leads to a new registration."""
    rehearsal = registered()
    old = rehearsal.stored.client
    rehearsal.play(Closed(rehearsal.generation, code, "ended"))
    rehearsal.register()
    assert rehearsal.stored.client != old
    assert rehearsal.told(RegistrationStarted)[-1].identity == "tel:+15550100"


def test_refused_because_retired_registers_again() -> None:
    """A request that is refused with client_retired leads to a new registration as well."""
    rehearsal = registered()
    rehearsal.play(ApplicationAsked("org.example.chat", "default"))
    refusal = RefusedV1(code="client_retired", message="register again")
    rehearsal.answer("application.register", refusal)
    rehearsal.open()
    assert "previous" in rehearsal.requests("client.register")[-1].body


def test_conflict_makes_another_secret_and_waits() -> None:
    """A secret that the server saw for somebody else is replaced, after a pause."""
    rehearsal = Rehearsal(register_on="install")
    rehearsal.play(Started())
    rehearsal.open()
    rehearsal.answer("client.register", RefusedV1(code="conflict", message="used"))
    assert rehearsal.opened()[-1].failures == 1
    rehearsal.open()
    first, second = rehearsal.requests("client.register")
    assert first.body["secret_hash"] != second.body["secret_hash"]


def test_refusal_never_loops_without_a_pause() -> None:
    """Each refused registration makes the pause before the next longer."""
    rehearsal = Rehearsal(register_on="install")
    rehearsal.play(Started())
    for failures in range(1, 6):
        rehearsal.open()
        refusal = RefusedV1(code="quota_exceeded", message="later")
        rehearsal.answer("client.register", refusal)
        assert rehearsal.opened()[-1].failures == failures


def replaced() -> Rehearsal:
    """A registered device whose connection was taken over by another."""
    rehearsal = registered()
    rehearsal.play(Closed(rehearsal.generation, CloseCode.REPLACED, "another one"))
    return rehearsal


def test_a_replaced_connection_comes_back_after_a_long_pause_only() -> None:
    """After 4409 the client does not chase the other connection away; but the server may have been
    wrong, so it is silent for a while, not for ever.
    """
    rehearsal = replaced()
    before = len(rehearsal.opened())
    assert rehearsal.opened()[-1].replaced
    assert rehearsal.told(Disconnected)[-1].reconnecting
    rehearsal.play(ApplicationAsked("org.example.chat", "default"))
    assert len(rehearsal.opened()) == before
    rehearsal.play(Closed(rehearsal.generation, None, "nobody there"))
    assert not rehearsal.opened()[-1].replaced
    rehearsal = replaced()
    rehearsal.connect()
    rehearsal.play(Closed(rehearsal.generation, None, "cut"))
    assert not rehearsal.opened()[-1].replaced


@pytest.mark.parametrize(
    "occasion",
    [ReconnectAsked(), NetworkChanged(CELLULAR), IdentityChanged("tel:+15550199")],
    ids=lambda occasion: type(occasion).__name__,
)
def test_a_replaced_connection_does_not_hold_up_what_is_new(occasion: Input) -> None:
    """Another network, another user, or being told to: the client connects at once."""
    rehearsal = replaced()
    before = len(rehearsal.opened())
    rehearsal.play(occasion)
    assert len(rehearsal.opened()) == before + 1
    assert not rehearsal.opened()[-1].replaced


def test_an_assertion_goes_with_the_registration_and_nowhere_else() -> None:
    """Servers may want identities proved (design, section 4): the newest assertion is sent with the
    registration, and it is neither stored nor shown.
    """
    rehearsal = registered()
    rehearsal.play(IdentityChanged("tel:+15550199", "head.body.signature"))
    rehearsal.open()
    request = rehearsal.requests("client.register")[-1]
    assert request.body["assertion"] == "head.body.signature"
    assert "head.body.signature" not in rehearsal.disk.decode()
    assert "head.body.signature" not in repr(rehearsal.view)
    assert "head.body.signature" not in repr(IdentityChanged("a", "head.body.signature"))
    rehearsal.answer("client.register", RefusedV1(code="identity_unproved", message="no"))
    rehearsal.play(IdentityChanged("tel:+15550199", "head.body.newer"))
    rehearsal.open()
    assert rehearsal.requests("client.register")[-1].body["assertion"] == "head.body.newer"
