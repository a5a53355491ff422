"""AOI Clients: who gets an ID, who keeps one, and what ends with one (8.1.1, 8.2.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aoi_events.contracts.answers import ANSWERS, ClientRegisteredV1
from aoi_events.contracts.requests import RegisterClientV1
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients.client import hash_secret
from aoi_events.errors import ConfigurationError
from aoi_events.ports.broker import Inbound
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.registration.handler import RegistrationHandler
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import Device, secret_and_hash
from tests.support.system import System


async def register(system: System, **body: Any) -> ClientRegisteredV1:
    """``client.register``."""
    user = await system.user("devices")
    answer = await user.ask("client.register", **({"device": "phone", "identity": "a"} | body))
    assert isinstance(answer, ClientRegisteredV1), answer
    return answer


@BOTH
async def test_the_result_is_communicated_and_stored(system: System) -> None:
    """8.2.1: the AOI Server "SHALL communicate the result of the registration", with the AOI Client
    ID, and the result "SHALL be stored on AOI Server for future usage".
    """
    device = await system.client("tel:+1")
    async with system.installation.store.transaction(read_only=True) as tx:
        stored = (await tx.clients({device.client}))[device.client]
    assert (stored.identity, stored.device) == ("tel:+1", "phone")
    await system.events.wait_for("client.registered", client=device.client)
    await device.register_app()  # and usable in future requests


async def test_a_repeat_gets_the_same_id(system: System) -> None:
    """The hash of the secret is looked up first, so a repeated request gets the same ID; its event
    is recognisable as the same.
    """
    _, hashed = secret_and_hash()
    first = await register(system, secret_hash=hashed)
    again = await register(system, secret_hash=hashed)
    assert first == again
    await system.events.wait_for("client.registered", count=2, client=first.client)
    one, two = system.events.of("client.registered", client=first.client)
    assert one.id == two.id


async def test_a_secret_serves_one_identity(system: System) -> None:
    """The same secret for another user identity is a conflict, and changes nothing."""
    _, hashed = secret_and_hash()
    await register(system, secret_hash=hashed)
    user = await system.user("devices")
    refused = await user.refused(
        "client.register", device="phone", identity="other", secret_hash=hashed
    )
    assert (refused.code, refused.field) == ("conflict", "identity")


async def test_proof_and_the_same_identity_refresh(system: System) -> None:
    """With proof and the same identity: the same ID, refreshed; also when repeated."""
    device = await system.device("scripted:a1")
    secret, hashed = secret_and_hash()
    for _ in range(2):
        answer = await register(
            system, identity=device.identity, secret_hash=hashed, previous=device.proof
        )
        assert (answer.client, answer.retired) == (device.client, None)
    await system.events.wait_for("client.refreshed", count=2, client=device.client)
    old = await device.refused("application.register", application="x", sequence=9)
    assert old.code == "unauthenticated"
    device.secret = secret
    assert (await device.register_app()).token == device.token


@BOTH
async def test_proof_and_another_identity_retire_the_old_id(system: System) -> None:
    """8.1.1: a changed user identity gets a new ID; the old one is retired: session
    closed, tokens and channels revoked, open deliveries *failed: reassigned*.
    """
    shop, node = await system.user(), await system.node()
    old = await system.device("websocket", "scripted:a1")
    connected = await node.connect(old)
    await shop.send("n1", old.token)
    await node.next_delivery()
    _, hashed = secret_and_hash()
    answer = await register(system, identity="b", secret_hash=hashed, previous=old.proof)

    assert answer.client != old.client
    assert answer.retired == old.client
    close = await node.next_close()
    assert (close.client, close.session, close.epoch) == (old.client, "s1", connected.epoch)
    await system.events.wait_for("client.reassigned", client=old.client, replaced_by=answer.client)
    await system.events.wait_for("application.revoked", client=old.client, reason="reassigned")
    await system.process_due()
    failed = await system.events.wait_for("notification.failed", notification="n1")
    assert failed.data.reason == Reason.REASSIGNED  # type: ignore[union-attr]
    (rejected,) = (await shop.send("n2", old.token)).rejected
    assert rejected.code == "token_revoked"
    gone = await old.refused("application.register", application="x", sequence=9)
    assert gone.code == "client_retired"
    async with system.installation.store.transaction(read_only=True) as tx:
        assert await tx.channels({old.client}) == {}


async def test_a_repeated_change_of_identity_tells_the_same_again(system: System) -> None:
    """Outputs follow from message and rows, and are published on every run: the same answer, the
    same events, the session closed again.
    """
    node = await system.node()
    old = await system.device("websocket")
    await node.connect(old)
    _, hashed = secret_and_hash()
    body = {"identity": "b", "secret_hash": hashed, "previous": old.proof}
    first = await register(system, **body)
    await node.next_close()
    assert await register(system, **body) == first
    assert (await node.next_close()).client == old.client
    await system.events.wait_for("client.reassigned", count=2)
    one, two = system.events.of("client.reassigned")
    assert one.id == two.id


async def test_a_wrong_proof_touches_nobody(system: System) -> None:
    """Without proof a new ID that touches no existing one, whatever it claims."""
    shop = await system.user()
    victim = await system.device("scripted:a1")
    other_secret, hashed = secret_and_hash()
    answer = await register(
        system,
        identity=victim.identity,
        secret_hash=hashed,
        previous={"client": victim.client, "secret": other_secret},
    )
    assert answer.client != victim.client
    assert answer.retired is None
    await shop.send("n1", victim.token)
    assert (await system.provider.next_delivery()).client == victim.client


async def test_registrations_of_one_identity_are_bounded(open_system: OpenSystem) -> None:
    """Quotas bound unused registrations; a refresh counts as none."""
    system = await open_system(policy={"clients_per_identity": 2})
    device = await system.client("a")
    await system.client("a")
    _, hashed = secret_and_hash()
    user = await system.user("devices")
    body = {"device": "phone", "identity": "a", "secret_hash": hashed}
    assert (await user.refused("client.register", **body)).code == "quota_exceeded"
    await register(system, secret_hash=hashed, previous=device.proof)
    system.clock.advance(86_399)
    _, another = secret_and_hash()
    body["secret_hash"] = another
    assert (await user.refused("client.register", **body)).code == "quota_exceeded"
    system.clock.advance(2)
    await system.client("a")


@BOTH
async def test_deregistration_ends_everything(system: System) -> None:
    """``client.deregister`` gives the ID up, and is answered the same when repeated; what is open
    ends as failed.
    """
    shop = await system.user()
    device = await system.device("scripted:a1", apps=("a", "b"))
    system.provider.default = system.provider.default.nothing()
    await shop.send("n1", *device.tokens.values())
    first = await device.ask("client.deregister")
    assert await device.ask("client.deregister") == first
    await system.events.wait_for("client.deregistered", client=device.client)
    await system.process_due()
    for count in (1, 2):
        event = await system.events.wait_for("notification.failed", count=count)
        assert event.data.reason == Reason.DEREGISTERED  # type: ignore[union-attr]


async def test_each_end_has_its_own_word(system: System) -> None:
    """A client that was deregistered is not reassigned by a later registration that names it, and
    one that was reassigned is not deregistered afterwards: it has ended.
    """
    gone, moved = await system.client("a"), await system.client("b")
    await gone.ask("client.deregister")
    await system.client("c", previous=gone.proof)
    new = await system.client("d", previous=moved.proof)
    await system.events.wait_for("client.reassigned", client=moved.client, replaced_by=new.client)
    assert system.events.of("client.reassigned", client=gone.client) == []
    assert (await moved.refused("client.deregister")).code == "client_retired"
    assert system.events.of("client.deregistered", client=moved.client) == []


async def test_an_old_secret_is_none_within_one_batch(system: System) -> None:
    """Two requests that are handled together see each other: the secret that the first one replaced
    does not get the client back with the second.
    """
    device = await system.client("a")
    _, fresh = secret_and_hash()
    handler = RegistrationHandler(
        system.installation.store, system.installation.services, system.clock
    )
    first = hash_secret(device.secret)
    answers = await handler.handle(
        [
            asked(secret_hash=fresh, previous=device.proof),
            asked(secret_hash=first, previous={"client": "cli_" + "a" * 26, "secret": "A" * 43}),
        ]
    )
    told = [ANSWERS[out.type].decode(out.body) for out in answers if out.type in ANSWERS]
    assert [getattr(each, "client", None) for each in told] == [device.client, None]
    assert [getattr(each, "code", None) for each in told] == [None, "conflict"]


def asked(**body: Any) -> IncomingRequest:
    """A registration of the identity as the worker reads it."""
    request = RegisterClientV1.model_validate(
        {"version": 1, "device": "phone", "identity": "a"} | body
    )
    message = Inbound(b"", "client.register", reply_to="replies", user_id="devices")
    return IncomingRequest(request, "devices", None, message)


@pytest.mark.parametrize("field", ["client", "secret"])
async def test_nobody_ends_somebody_elses_client(system: System, field: str) -> None:
    """Requests about a client prove its secret; the refusal does not say what is wrong with it."""
    device = await system.client()
    wrong = {"client": "cli_" + "a" * 26, "secret": secret_and_hash()[0]}
    refused = await device.refused("client.deregister", **{field: wrong[field]})
    assert refused.code == "unauthenticated"
    await device.register_app()


async def test_a_session_speaks_for_its_own_client_only(system: System) -> None:
    """A gateway's word counts for the client whose session it is, and for no other."""
    node = await system.node()
    mine, other = await system.device(), await system.device()
    body = {"application": "x", "sequence": 9}
    for_mine = {"aoi-client": mine.client}
    granted = await node.user.ask(
        "application.register", headers=for_mine, client=mine.client, **body
    )
    assert granted == await mine.ask("application.register", **body)
    refused = await node.user.ask(
        "application.register", headers=for_mine, client=other.client, **body
    )
    assert getattr(refused, "code", None) == "not_allowed"


async def test_nobody_but_a_gateway_vouches_for_a_session(system: System) -> None:
    """A sender's own ``aoi-client`` header is no proof of anything."""
    device = await system.device()
    answer = await device.user.ask(
        "application.register",
        headers={"aoi-client": device.client},
        client=device.client,
        application="x",
        sequence=9,
    )
    assert getattr(answer, "code", None) == "unauthenticated"


async def test_a_wrong_secret_makes_nothing_due(system: System) -> None:
    """A request without proof of a client releases none of its stored deliveries, either."""
    shop = await system.user()
    device = await system.device()
    await shop.send("n1", device.token)
    stranger = Device(device.user, device.client, secret_and_hash()[0], "x")
    await stranger.refused("application.register", application="org.mail", sequence=9)
    (row,) = await system.rows("n1")
    assert not row.released


@BOTH
async def test_identities_must_be_asserted_where_the_operator_says_so(
    open_system: OpenSystem, tmp_path: Path
) -> None:
    """The check of signed assertions is a setting: without a valid one a client can neither
    register nor change its identity; a repeat of an earlier registration needs none.
    """
    issuer = ed25519.Ed25519PrivateKey.generate()
    keys = tmp_path / "issuer.pem"
    keys.write_bytes(
        issuer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    policy = {"identity_keys": str(keys), "identity_audience": "push.example.org"}
    system = await open_system(policy=policy)

    def of(identity: str) -> str:
        until = system.clock.now().timestamp() + 60
        claims = {"sub": identity, "aud": "push.example.org", "exp": until}
        return jwt.encode(claims, issuer, "EdDSA")

    user = await system.user("devices")
    secret, hashed = secret_and_hash()
    body: dict[str, Any] = {"device": "phone", "identity": "a", "secret_hash": hashed}
    for wrong in ({}, {"assertion": of("b")}, {"assertion": "no.jwt.either"}):
        refused = await user.refused("client.register", **body, **wrong)
        assert (refused.code, refused.field) == ("identity_unproved", "assertion")
    first = await register(system, **body, assertion=of("a"))
    system.clock.advance(3_600)
    assert await register(system, **body) == first
    previous = {"client": first.client, "secret": secret}
    _, another = secret_and_hash()
    changed = {"device": "phone", "identity": "b", "secret_hash": another, "previous": previous}
    assert (await user.refused("client.register", **changed)).code == "identity_unproved"
    assert (await register(system, **changed, assertion=of("b"))).retired == first.client
    assert await system.parked() == []


@pytest.mark.parametrize("missing", ["identity_keys", "identity_audience"])
async def test_half_a_check_is_no_check(open_system: OpenSystem, missing: str) -> None:
    """A check that cannot work stops the worker at its start, and says what to set."""
    policy = {"identity_keys": "issuer.pem", "identity_audience": "us"}
    del policy[missing]
    with pytest.raises(ConfigurationError, match="AOI_POLICY__IDENTITY_KEYS and AOI_POLICY__"):
        await open_system(policy=policy)
