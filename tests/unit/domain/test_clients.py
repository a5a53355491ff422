"""Registration of AOI Clients: same secret, proof, another identity, and what is forbidden."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.requests import PreviousClient, RegisterClientV1
from aoi_events.domain.clients.client import (
    Client,
    Presence,
    Registration,
    SessionReplaced,
    authenticate,
    client_id_of,
    connected,
    current,
    hash_secret,
    register,
)
from aoi_events.errors import ErrorCode, Refusal
from tests.support.strategies import EPOCH, near_misses


def secret_of(number: int) -> str:
    """A client's secret: 256 bits, base64url without padding."""
    return secret_text(hashlib.sha256(f"secret {number}".encode()).digest())


def secret_text(octets: bytes) -> str:
    """32 octets as the text of a secret."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def request(
    secret: int, identity: str = "tel:+4915112345678", previous: PreviousClient | None = None
) -> RegisterClientV1:
    """A registration request."""
    return RegisterClientV1(
        version=1,
        device="phone",
        identity=identity,
        secret_hash=hash_secret(secret_of(secret)),
        previous=previous,
    )


class Registry:
    """What a store would do with the decisions: clients by ID, and by secret."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.now = EPOCH

    def register(self, asked: RegisterClientV1) -> Registration:
        """Decide, save, and retire, as the registration worker does."""
        self.now += timedelta(seconds=1)
        by_secret = {client.secret_hash: client for client in self.clients.values()}
        assert len(by_secret) == len(self.clients), "a secret belongs to one client"
        decided = register(
            asked,
            same_secret=by_secret.get(asked.secret_hash),
            same_id=self.clients.get(client_id_of(asked.secret_hash)),
            previous=self.clients.get(asked.previous.client) if asked.previous else None,
            now=self.now,
        )
        if decided.retired is not None and not decided.retired.retired:
            gone = replace(decided.retired, retired_at=self.now, retired_reason="reassigned")
            self.clients[gone.id] = gone
        self.clients[decided.client.id] = decided.client
        return decided

    def proof(self, client: str, secret: int) -> PreviousClient:
        """The old ID and secret, as a request carries them."""
        return PreviousClient(client=client, secret=secret_of(secret))


def test_a_session_takes_over_from_the_one_before() -> None:
    """The row names the session that was replaced, for any repeat; later sessions name their own
    predecessors only, and a new name of the gateway's node replaces none.
    """
    client = Client("cli_" + "a" * 26, "0" * 64, "phone", "tel:+1", EPOCH, EPOCH)
    first = connected(client, Presence("gw-1", "s1"), EPOCH)
    assert (first.epoch, first.replaced) == (1, None)
    second = connected(first, Presence("gw-2", "s2"), EPOCH)
    assert (second.epoch, second.replaced) == (2, SessionReplaced("gw-1", "s1", by="s2"))
    again = connected(second, Presence("gw-2", "s2"), EPOCH)
    assert (again.epoch, again.replaced, again.returns) == (2, second.replaced, 3)
    renamed = connected(again, Presence("gw-3", "s2"), EPOCH)
    assert (renamed.epoch, renamed.replaced) == (3, second.replaced)
    gone = replace(renamed, presence=None)
    assert connected(gone, Presence("gw-3", "s2"), EPOCH).replaced == second.replaced
    assert connected(gone, Presence("gw-3", "s3"), EPOCH).replaced is None


@given(st.integers(1, 30), st.data())
def test_an_old_session_never_comes_back(sessions: int, data: st.DataObject) -> None:
    """Whatever came before the present one and is repeated, is refused; what is remembered is
    bounded.
    """
    client = Client("cli_" + "a" * 26, "0" * 64, "phone", "tel:+1", EPOCH, EPOCH)
    for number in range(sessions):
        client = connected(client, Presence("gw-1", f"s{number}"), EPOCH)
        if data.draw(st.booleans()):
            client = replace(client, presence=None)
    assert len(client.presences) == min(sessions, 8)
    for before in client.presences[:-1]:
        with pytest.raises(Refusal) as refused:
            connected(client, before, EPOCH)
        assert refused.value.code is ErrorCode.CONFLICT
    assert connected(client, client.presences[-1], EPOCH).presences == client.presences


def test_a_session_that_went_on_under_another_name_does_not_go_back() -> None:
    """An announcement that was overtaken by a later one is refused as expired: the session lives,
    but not there.
    """
    client = Client("cli_" + "a" * 26, "0" * 64, "phone", "tel:+1", EPOCH, EPOCH)
    for node in ("gw-1", "gw-2"):
        client = connected(client, Presence(node, "s1"), EPOCH)
    with pytest.raises(Refusal) as refused:
        connected(client, Presence("gw-1", "s1"), EPOCH)
    assert refused.value.code is ErrorCode.EXPIRED


def test_a_session_that_comes_back_is_remembered_once() -> None:
    """Its presence was given up meanwhile; as its own predecessor it would be refused for ever."""
    present = Presence("gw-1", "s1")
    client = connected(
        Client("cli_" + "a" * 26, "0" * 64, "phone", "tel:+1", EPOCH, EPOCH), present, EPOCH
    )
    for _ in range(2):
        client = connected(replace(client, presence=None), present, EPOCH)
    assert (client.presences, client.epoch) == ((present,), 3)


def test_a_repeat_gets_the_same_id() -> None:
    """8.2.1: the answer may get lost; asking again gives the same AOI Client ID."""
    registry = Registry()
    first = registry.register(request(1))
    again = registry.register(request(1))
    assert first.fresh
    assert not again.fresh
    assert again.client.id == first.client.id
    assert again.client.registered_at == first.client.registered_at


def test_proof_and_the_same_identity_refresh() -> None:
    """The same ID with the new secret; the old secret does not open it any more."""
    registry = Registry()
    old = registry.register(request(1)).client
    asked = request(2, previous=registry.proof(old.id, 1))
    new = registry.register(asked)
    assert (new.client.id, new.retired, new.fresh) == (old.id, None, False)
    assert authenticate(new.client, secret_of(2)) == new.client
    with pytest.raises(Refusal) as refused:
        authenticate(new.client, secret_of(1))
    assert refused.value.code is ErrorCode.UNAUTHENTICATED
    repeat = registry.register(asked)
    assert (repeat.client.id, repeat.retired) == (old.id, None)


def test_proof_and_another_identity_retire_the_old_client() -> None:
    """8.1.1: a changed SIM gets a new AOI Client ID; repeats tell the same of the old one."""
    registry = Registry()
    old = registry.register(request(1)).client
    asked = request(2, identity="tel:+4915187654321", previous=registry.proof(old.id, 1))
    for _ in range(3):
        new = registry.register(asked)
        assert new.client.id != old.id
        assert new.retired is not None
        assert new.retired.id == old.id
    assert registry.clients[old.id].retired


def test_without_proof_nobody_elses_client_is_touched() -> None:
    """A registration that claims a phone number without proof gets a client of its own."""
    registry = Registry()
    victim = registry.register(request(1)).client
    other = registry.register(request(2))
    wrong = registry.register(request(3, previous=registry.proof(victim.id, 2)))
    unknown = registry.register(request(4, previous=registry.proof("cli_" + "a" * 26, 4)))
    assert len({victim.id, other.client.id, wrong.client.id, unknown.client.id}) == 4
    assert registry.clients[victim.id] == victim
    assert wrong.retired is None


def test_a_secret_is_not_used_twice() -> None:
    """For another identity, or after its client ended, a secret is a conflict."""
    registry = Registry()
    old = registry.register(request(1)).client
    with pytest.raises(Refusal) as other:
        registry.register(request(1, identity="sip:somebody@example.org"))
    assert (other.value.code, other.value.field) == (ErrorCode.CONFLICT, "identity")
    registry.register(
        request(2, identity="sip:somebody@example.org", previous=registry.proof(old.id, 1))
    )
    with pytest.raises(Refusal) as ended:
        registry.register(request(1))
    assert (ended.value.code, ended.value.field) == (ErrorCode.CONFLICT, "secret_hash")


def test_an_old_secret_does_not_take_the_client_over() -> None:
    """A client that was refreshed keeps its ID: its first secret, or a late repeat of its first
    request, does not get it back.
    """
    registry = Registry()
    old = registry.register(request(1)).client
    refreshed = registry.register(request(2, previous=registry.proof(old.id, 1))).client
    with pytest.raises(Refusal) as replayed:
        registry.register(request(1))
    assert (replayed.value.code, replayed.value.field) == (ErrorCode.CONFLICT, "secret_hash")
    assert registry.clients[old.id] == refreshed


def test_who_is_not_told_apart() -> None:
    """An unknown client and a wrong secret get the same refusal; a retired client gets its own."""
    client = Registry().register(request(1)).client
    messages = set()
    for known in (None, client):
        with pytest.raises(Refusal) as refused:
            authenticate(known, secret_of(9))
        messages.add(str(refused.value))
    assert len(messages) == 1
    with pytest.raises(Refusal) as ended:
        current(replace(client, retired_at=EPOCH, retired_reason="deregistered"))
    assert ended.value.code is ErrorCode.CLIENT_RETIRED


def test_a_client_that_ended_is_not_revived() -> None:
    """With proof and the same identity a client keeps its ID, but not one that ended: its holder
    gets a new one.
    """
    registry = Registry()
    old = registry.register(request(1)).client
    registry.clients[old.id] = replace(old, retired_at=EPOCH, retired_reason="deregistered")
    decided = registry.register(request(2, previous=registry.proof(old.id, 1)))
    assert (decided.fresh, decided.client.retired) == (True, False)
    assert decided.client.id != old.id


def test_a_client_does_not_end_itself() -> None:
    """A refresh that is repeated with the new secret as its own proof ends nothing."""
    registry = Registry()
    old = registry.register(request(1)).client
    registry.register(request(2, previous=registry.proof(old.id, 1)))
    again = registry.register(request(2, previous=registry.proof(old.id, 2)))
    assert (again.client.id, again.retired) == (old.id, None)


def test_secrets_are_compared_whole() -> None:
    """A secret that differs from the client's in a single octet is a wrong one, also as the proof
    of an earlier registration; so is one whose hash differs from the stored one in a single place.
    """
    octets = hashlib.sha256(b"secret").digest()
    right = secret_text(octets)
    client = replace(Registry().register(request(1)).client, secret_hash=hash_secret(right))
    assert authenticate(client, right) == client
    assert proves(client, right)
    for place in range(len(octets)):
        other = bytes(octet ^ (index == place) for index, octet in enumerate(octets))
        assert not known(client, secret_text(other))
        assert not proves(client, secret_text(other))
    for wrong in near_misses(client.secret_hash):
        assert not known(replace(client, secret_hash=wrong), right)
        assert not proves(replace(client, secret_hash=wrong), right)


def test_a_retired_client_has_no_secret_any_more() -> None:
    """The secret of a retired client is void, and the refusal says why."""
    client = Registry().register(request(1)).client
    gone = replace(client, retired_at=EPOCH, retired_reason="deregistered")
    with pytest.raises(Refusal) as refused:
        authenticate(gone, secret_of(1))
    assert refused.value.code is ErrorCode.CLIENT_RETIRED


def known(client: Client, secret: str) -> bool:
    """Whether the secret is taken for the client's, or refused as anything but a wrong one."""
    try:
        return authenticate(client, secret) == client
    except Refusal as refused:
        return refused.code is not ErrorCode.UNAUTHENTICATED


def proves(client: Client, secret: str) -> bool:
    """Whether the secret proves that the client was registered before."""
    previous = PreviousClient(client=client.id, secret=secret)
    asked = request(2, previous=previous)
    decided = register(asked, same_secret=None, same_id=None, previous=client, now=EPOCH)
    return decided.client.id == client.id


requests_of_anybody = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["tel:+4915112345678", "sip:somebody@example.org"]),
        st.none() | st.tuples(st.integers(0, 5), st.integers(0, 3)),
        st.integers(1, 2),
    ),
    max_size=12,
)


@given(requests_of_anybody)
def test_any_history_keeps_clients_apart(
    history: list[tuple[int, str, tuple[int, int] | None, int]],
) -> None:
    """Whatever is asked in any order, with right and wrong proofs and repeats: a client's identity
    never changes, its secret only by proof of the old one, it ends only by proof, and for good.
    """
    registry = Registry()
    for secret, identity, claim, times in history:
        known = sorted(registry.clients)
        previous = (
            registry.proof(known[claim[0] % len(known)], claim[1]) if claim and known else None
        )
        asked = request(secret, identity, previous)
        answers = set()
        for _ in range(times):
            before = dict(registry.clients)
            try:
                decided = registry.register(asked)
                answers.add((decided.client.id, decided.retired and decided.retired.id))
            except Refusal as refused:
                answers.add((refused.code, refused.field))
                unchanged = before
            else:
                unchanged = registry.clients
            assert registry.clients == unchanged
            _only_with_proof(before, registry.clients, asked, registry.now)
        assert len(answers) == 1, "a repeat gets the same answer"
        assert answers.pop()[0] in (ErrorCode.CONFLICT, *registry.clients)


def _only_with_proof(
    before: dict[str, Client], after: dict[str, Client], asked: RegisterClientV1, now: datetime
) -> None:
    for identifier, old in before.items():
        new = after[identifier]
        assert new.identity == old.identity
        proved = (
            asked.previous is not None
            and asked.previous.client == identifier
            and hash_secret(asked.previous.secret) == old.secret_hash
        )
        if new.secret_hash != old.secret_hash:
            assert proved
        if new.retired != old.retired:
            assert proved
            assert new.retired
        if old.retired:
            assert new == old
    assert sum(identifier not in before for identifier in after) <= 1
    assert all(client.seen_at <= now for client in after.values())
