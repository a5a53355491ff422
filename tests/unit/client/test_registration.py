"""8.1.1 AOI Client Registration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aoi_events.client.core.effects import Connect, Disconnect, Save, SendFrame
from aoi_events.client.core.events import Disconnected, Registered, RegistrationStarted
from aoi_events.client.core.inputs import (
    ApplicationStarted,
    ClientStarted,
    ConnectionClosed,
    IdentityChanged,
    Input,
    NetworkChanged,
    ReconnectRequested,
    RequestTimedOut,
)
from aoi_events.contracts.answers import ClientRegisteredV1, RefusedV1
from aoi_events.contracts.device import CloseCode, HelloFrame
from tests.unit.client.device_harness import CELLULAR, MAIL, DeviceHarness, token_of

OTHER = "cli_" + "b" * 26


def registered(**settings: object) -> DeviceHarness:
    """A device with one registered app and active channels."""
    device = DeviceHarness(**settings)
    device.feed(ClientStarted())
    device.feed(ApplicationStarted(MAIL, "default"))
    device.register()
    device.serve()
    return device


def test_registers_upon_installation() -> None:
    """8.1.1: "Upon installation/activation of the AOI Client […] SHALL issue […] a request"."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    device.open()
    [request] = device.requests("client.register")
    assert request.body["identity"] == "tel:+15550100"
    assert request.body["device"] == "phone-1"
    assert "previous" not in request.body


def test_policy_can_wait_for_the_first_application() -> None:
    """8.1.1: "The trigger […] might depend on deployment policy": nothing happens before an app."""
    device = DeviceHarness(register_on="first_application")
    device.feed(ClientStarted())
    assert device.effects == []


def test_registers_when_an_application_asks_while_unregistered() -> None:
    """8.1.1: an app's request "whilst the AOI Client is not registered": it SHALL register."""
    device = DeviceHarness(register_on="first_application")
    device.feed(ClientStarted())
    device.feed(ApplicationStarted(MAIL, "default"))
    device.open()
    assert len(device.requests("client.register")) == 1


def test_secret_is_stored_before_it_is_sent() -> None:
    """The secret is on the disk before a connection is even made, so no kill can lose an ID."""
    device = DeviceHarness(register_on="install")
    effects = device.feed(ClientStarted())
    assert isinstance(effects[0], Save)
    assert effects[0].stored.credentials is not None
    assert not any(isinstance(effect, SendFrame) for effect in effects)
    assert isinstance(effects[-1], Connect)


def test_stores_the_assigned_id() -> None:
    """8.1.1: "the AOI Client SHALL store the assigned AOI Client ID for use in future requests"."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    device.open()
    effects = device.answer("client.register", ClientRegisteredV1(client=OTHER))
    assert device.stored.client == OTHER
    [hello] = [e.frame for e in effects if isinstance(e, SendFrame)]
    assert isinstance(hello, HelloFrame)
    assert hello.client == OTHER
    assert device.emitted(Registered) == [Registered(OTHER, None)]


def test_repeats_the_same_request_until_answered() -> None:
    """A request without an answer is repeated with the same secret, also after a restart."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    device.open()
    number, _ = device.pending("client.register")
    device.feed(RequestTimedOut(device.generation, number))
    device.open()
    device.feed(ConnectionClosed(device.generation, None, "lost"))
    device.open()
    device.restart()
    device.open()
    hashes = [request.body["secret_hash"] for request in device.requests("client.register")]
    assert len(hashes) == 4
    assert len(set(hashes)) == 1


def test_changed_identity_registers_anew() -> None:
    """8.1.1: upon "any event that changes the identity of the user […] SHALL issue a new […]"."""
    device = registered()
    old = device.stored
    assert old.credentials is not None
    effects = device.feed(IdentityChanged("tel:+15550199"))
    assert any(isinstance(effect, Disconnect) for effect in effects)
    device.open()
    request = device.requests("client.register")[-1]
    assert request.body["identity"] == "tel:+15550199"
    assert request.body["previous"] == {"client": old.client, "secret": old.credentials.secret}
    assert device.stored.credentials is not None
    assert device.stored.credentials.secret != old.credentials.secret


def test_changed_identity_gives_apps_new_tokens_and_activates() -> None:
    """After the new ID the old one is dropped, apps get new tokens, and channels are activated."""
    device = registered()
    old = device.stored
    device.feed(IdentityChanged("tel:+15550199"))
    assert device.stored.of_token(token_of(old.client or "", MAIL, "default")) is None
    device.register()
    assert device.emitted(Registered)[-1].retired == old.client
    device.serve()
    now = device.stored
    assert now.previous is None
    assert now.client != old.client
    token = now.applications[f"{MAIL}/default"].token
    assert token == token_of(now.client or "", MAIL, "default")
    assert now.active == {"websocket", "sms"}
    assert len(device.requests("channel.activate")) == 2


def test_identity_that_changed_while_the_client_was_off() -> None:
    """A start with another identity than the stored one registers anew."""
    device = registered()
    device.model = replace(device.model, identity="sip:bob@example.org")
    device.restart()
    device.open()
    assert device.requests("client.register")[-1].body["identity"] == "sip:bob@example.org"


def test_identity_that_changes_twice_keeps_the_last_confirmed_proof() -> None:
    """A second change before the first was answered still proves the last confirmed ID."""
    device = registered()
    old = device.stored
    device.feed(IdentityChanged("tel:+15550199"))
    device.open()
    device.feed(IdentityChanged("tel:+15550188"))
    device.open()
    first, second = device.requests("client.register")[-2:]
    assert first.body["secret_hash"] != second.body["secret_hash"]
    assert second.body["previous"]["client"] == old.client


def test_same_id_again_keeps_what_belongs_to_it() -> None:
    """With proof and the same identity the server refreshes the ID: channels stay as they are."""
    device = registered()
    old = device.stored
    device.feed(ConnectionClosed(device.generation, CloseCode.UNAUTHENTICATED, "who?"))
    device.open()
    assert old.client is not None
    device.answer("client.register", ClientRegisteredV1(client=old.client))
    device.welcome()
    assert device.stored.client == old.client
    assert device.stored.applications == old.applications
    assert device.stored.channels == old.channels
    assert len(device.requests("channel.activate")) == 1


@pytest.mark.parametrize("code", [CloseCode.RETIRED, CloseCode.UNAUTHENTICATED])
def test_retired_or_unknown_client_registers_again(code: CloseCode) -> None:
    """A session that ends with "retired" or "unauthenticated" leads to a new registration."""
    device = registered()
    old = device.stored.client
    device.feed(ConnectionClosed(device.generation, code, "ended"))
    device.register()
    assert device.stored.client != old
    assert device.emitted(RegistrationStarted)[-1].identity == "tel:+15550100"


def test_refused_because_retired_registers_again() -> None:
    """A request that is refused with client_retired leads to a new registration as well."""
    device = registered()
    device.feed(ApplicationStarted("org.example.chat", "default"))
    refusal = RefusedV1(code="client_retired", message="register again")
    device.answer("application.register", refusal)
    device.open()
    assert "previous" in device.requests("client.register")[-1].body


def test_conflict_makes_another_secret_and_waits() -> None:
    """After a conflict the client takes another secret, after a pause."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    device.open()
    device.answer("client.register", RefusedV1(code="conflict", message="used"))
    assert device.connects()[-1].failures == 1
    device.open()
    first, second = device.requests("client.register")
    assert first.body["secret_hash"] != second.body["secret_hash"]


def test_refusal_never_loops_without_a_pause() -> None:
    """Each refused registration makes the pause before the next longer."""
    device = DeviceHarness(register_on="install")
    device.feed(ClientStarted())
    for failures in range(1, 6):
        device.open()
        refusal = RefusedV1(code="quota_exceeded", message="later")
        device.answer("client.register", refusal)
        assert device.connects()[-1].failures == failures


def replaced() -> DeviceHarness:
    """A registered device whose connection was taken over by another."""
    device = registered()
    device.feed(ConnectionClosed(device.generation, CloseCode.REPLACED, "another one"))
    return device


def test_a_replaced_connection_comes_back_after_a_long_pause_only() -> None:
    """After 4409 the client does not chase the other connection away; but the server may have been
    wrong, so it is silent for a while, not for ever.
    """
    device = replaced()
    before = len(device.connects())
    assert device.connects()[-1].replaced
    assert device.emitted(Disconnected)[-1].reconnecting
    device.feed(ApplicationStarted("org.example.chat", "default"))
    assert len(device.connects()) == before
    device.feed(ConnectionClosed(device.generation, None, "nobody there"))
    assert not device.connects()[-1].replaced
    device = replaced()
    device.connect()
    device.feed(ConnectionClosed(device.generation, None, "cut"))
    assert not device.connects()[-1].replaced


@pytest.mark.parametrize(
    "occasion",
    [ReconnectRequested(), NetworkChanged(CELLULAR), IdentityChanged("tel:+15550199")],
    ids=lambda occasion: type(occasion).__name__,
)
def test_a_replaced_connection_does_not_hold_up_what_is_new(occasion: Input) -> None:
    """With another network, another user, or at a request the client connects at once."""
    device = replaced()
    before = len(device.connects())
    device.feed(occasion)
    assert len(device.connects()) == before + 1
    assert not device.connects()[-1].replaced


def test_an_assertion_goes_with_the_registration_and_nowhere_else() -> None:
    """Servers may want identities proved: the newest assertion is sent with the
    registration, and it is neither stored nor shown.
    """
    device = registered()
    device.feed(IdentityChanged("tel:+15550199", "head.body.signature"))
    device.open()
    request = device.requests("client.register")[-1]
    assert request.body["assertion"] == "head.body.signature"
    assert "head.body.signature" not in device.disk.decode()
    assert "head.body.signature" not in repr(device.model)
    assert "head.body.signature" not in repr(IdentityChanged("a", "head.body.signature"))
    device.answer("client.register", RefusedV1(code="identity_unproved", message="no"))
    device.feed(IdentityChanged("tel:+15550199", "head.body.newer"))
    device.open()
    assert device.requests("client.register")[-1].body["assertion"] == "head.body.newer"
