"""AOI Clients: their record, and decisions on registrations and connections (8.1.1, 8.2.1)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from aoi_events.contracts.identifiers import base32_id
from aoi_events.errors import ErrorCode, Refusal

if TYPE_CHECKING:
    from aoi_events.contracts.requests import RegisterClientV1

_PRESENCES: Final = 8
"""How many are remembered: more than devices can begin while a gateway waits for an answer."""


@dataclass(frozen=True, slots=True)
class Presence:
    """The connection of a device: a gateway node and its session."""

    node: str
    session: str


@dataclass(frozen=True, slots=True)
class SessionReplaced:
    """A session that must be closed, because the session with ID ``by`` took over."""

    node: str
    session: str
    by: str


@dataclass(frozen=True, slots=True)
class Client:
    """An AOI Client.

    ``sequence`` and ``sequence_hash`` belong to the last applied command about the channel set;
    ``epoch`` counts connections, whether or not one is open now; ``returns`` counts events that may
    make the client reachable again (a connection, an activation, a proof, an app that started), so
    that a plan can tell whether it was made before. ``presences`` are the last ones, the newest
    last, whether or not it is open; ``replaced`` is the session that the present one took over
    from. ``retired_at``: when the AOI Client ID ended; ``unpublished_since``: since when the event
    of that end may be unpublished.
    """

    id: str
    secret_hash: str
    device: str
    identity: str
    registered_at: datetime
    seen_at: datetime
    sequence: int = 0
    sequence_hash: str = ""
    epoch: int = 0
    returns: int = 0
    presence: Presence | None = None
    replaced: SessionReplaced | None = None
    retired_at: datetime | None = None
    retired_reason: str | None = None
    unpublished_since: datetime | None = None
    presences: tuple[Presence, ...] = ()

    @property
    def retired(self) -> bool:
        """Whether the AOI Client ID has ended."""
        return self.retired_at is not None

    def returned(self, now: datetime) -> Client:
        """The client after an event that may have made it reachable again."""
        return replace(self, seen_at=now, returns=self.returns + 1)


@dataclass(frozen=True, slots=True)
class Registration:
    """The decision on a registration request.

    ``client`` must be saved and is the answer; ``retired`` is the earlier client that ends by it
    (also on a repeat, so that the answer stays the same); ``fresh``: the client is new.
    """

    client: Client
    retired: Client | None
    fresh: bool


def connected(
    client: Client, present: Presence, now: datetime, *, answer_by: datetime | None = None
) -> Client:
    """The client after a session connected: ``present`` is its only session from now on.

    Idempotent: a repeat increments ``returns`` only, and yields the same event, ``replaced``
    included. Raises Refusal for a late repeat after a newer session took over (conflict when that
    is another session, expired when it is the same one on a node of another name), and for a
    request that would change anything later than ``answer_by`` (unavailable): by then the device
    may be connected elsewhere.
    """
    if client.presence == present:
        return client.returned(now)
    if present in client.presences[:-1]:
        if client.presences[-1].session == present.session:
            raise Refusal(ErrorCode.EXPIRED, "this session has gone on elsewhere since")
        raise Refusal(ErrorCode.CONFLICT, "another session of this client has begun since")
    if answer_by is not None and now > answer_by:
        raise Refusal(
            ErrorCode.UNAVAILABLE,
            "the gateway stopped waiting for this answer "
            f"{(now - answer_by).total_seconds():.1f} s ago; are there enough activation workers, "
            "and do their clocks agree with the gateway's?",
        )
    known, old = client.presences, client.presence
    if not known or known[-1] != present:
        known = (*known, present)[-_PRESENCES:]
    replaced = client.replaced
    if old is not None and old.session != present.session:
        replaced = SessionReplaced(old.node, old.session, by=present.session)
    elif replaced is not None and replaced.by != present.session:
        replaced = None
    return replace(
        client.returned(now),
        presence=present,
        presences=known,
        epoch=client.epoch + 1,
        replaced=replaced,
    )


def expired(client: Client, *, unused_before: datetime, silent_before: datetime) -> bool:
    """Whether the registration has expired: no request since ``silent_before``, or since
    ``unused_before`` if no device ever connected or activated channels with it.
    """
    unused = client.epoch == 0 and client.sequence == 0
    before = max(unused_before, silent_before) if unused else silent_before
    return not client.retired and client.seen_at < before


def hash_secret(secret: str) -> str:
    """SHA-256 of the 256 bits behind ``secret``, in hexadecimal.

    A plain hash is enough: the secret is uniformly random and cannot be guessed.
    """
    return hashlib.sha256(urlsafe_b64decode(secret + "=")).hexdigest()


def client_id_of(secret_hash: str) -> str:
    """The AOI Client ID that follows from a secret, so that a repeated request gets the
    same one.
    """
    digest = hashlib.sha256(b"aoi client id\0" + bytes.fromhex(secret_hash)).digest()
    return base32_id("cli_", digest[:16])


def authenticate(client: Client | None, secret: str) -> Client:
    """The client, if ``secret`` is its own. Raises Refusal (unauthenticated, client_retired)."""
    expected = client.secret_hash if client else "0" * 64
    if not hmac.compare_digest(hash_secret(secret), expected) or client is None:
        raise Refusal(
            ErrorCode.UNAUTHENTICATED,
            "no AOI Client has this ID and secret; send both as they were when it registered, "
            "or register again",
        )
    return current(client)


def current(client: Client) -> Client:
    """The client, unless it was retired. Raises Refusal (client_retired)."""
    if client.retired:
        raise Refusal(
            ErrorCode.CLIENT_RETIRED,
            f"this AOI Client ID ended ({client.retired_reason}); register again",
        )
    return client


def register(
    request: RegisterClientV1,
    *,
    same_secret: Client | None,
    same_id: Client | None,
    previous: Client | None,
    now: datetime,
) -> Registration:
    """Decide a registration.

    ``same_secret`` is the client whose secret has the request's hash, looked up first; ``same_id``
    the one whose ID follows from that hash (:func:`client_id_of`), by now perhaps with a newer
    secret; ``previous`` the one that the request names as proof, if the server knows it. A wrong
    proof is ignored: the answer is a new AOI Client ID that touches no existing one. Raises Refusal
    (conflict) when a secret is used again: for another identity, by a retired client, or after a
    refresh replaced it (else an old secret would take the client over).
    """
    proved = _proved(request, previous)
    if same_secret is not None:
        return _repeat(request, same_secret, proved, now)
    if proved is not None and not proved.retired and proved.identity == request.identity:
        refreshed = replace(
            proved, secret_hash=request.secret_hash, device=request.device, seen_at=now
        )
        return Registration(refreshed, retired=None, fresh=False)
    if same_id is not None:
        raise Refusal(
            ErrorCode.CONFLICT,
            "this secret was replaced when its client registered again; make a new secret and "
            "register",
            field="secret_hash",
        )
    client = Client(
        id=client_id_of(request.secret_hash),
        secret_hash=request.secret_hash,
        device=request.device,
        identity=request.identity,
        registered_at=now,
        seen_at=now,
    )
    return Registration(client, retired=proved, fresh=True)


def _proved(request: RegisterClientV1, previous: Client | None) -> Client | None:
    if request.previous is None or previous is None:
        return None
    matches = hmac.compare_digest(hash_secret(request.previous.secret), previous.secret_hash)
    return previous if matches else None


def _repeat(
    request: RegisterClientV1, known: Client, proved: Client | None, now: datetime
) -> Registration:
    if known.retired:
        raise Refusal(
            ErrorCode.CONFLICT,
            "this secret belongs to an AOI Client ID that ended; make a new secret and register",
            field="secret_hash",
        )
    if known.identity != request.identity:
        raise Refusal(
            ErrorCode.CONFLICT,
            "this secret is registered for another user identity; when the identity changes, make "
            "a new secret and send the old AOI Client ID and secret as 'previous'",
            field="identity",
        )
    retired = proved if proved is not None and proved.id != known.id else None
    refreshed = replace(known, device=request.device, seen_at=now)
    return Registration(refreshed, retired=retired, fresh=False)
