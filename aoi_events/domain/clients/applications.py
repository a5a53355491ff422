"""Application Clients: app instances on a client, and how their commands are ordered (8.1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.tokens import TokenClaims, app_key_of

_CLOCKS_AGREE: Final = 60
"""Seconds by which the clocks of two workers may differ."""


@dataclass(frozen=True, slots=True)
class Application:
    """One app instance on a client.

    ``generation`` rises when a revoked registration is made anew, so the old token stays invalid,
    also after the row was removed (:func:`forgettable`); 0: it never had a token. ``key_id`` is the
    token key that issued the present token. ``sequence`` numbers the client's commands about this
    instance. ``sender_key``: only its owner may send to the token (None: any sender may).
    ``replaced`` is the fingerprint of the token that the last command ended because of another
    ``sender_key``.
    """

    client: str
    application: str
    instance: str
    generation: int
    key_id: str
    sequence: int
    registered: bool
    fingerprint: str
    registered_at: datetime
    revoked_reason: str | None = None
    sender_key: str | None = None
    replaced: str | None = None

    @property
    def app_key(self) -> str:
        """An ID of the app instance in 128 bits."""
        return app_key_of(self.application, self.instance)

    @property
    def claims(self) -> TokenClaims:
        """The claims that its token carries."""
        return TokenClaims(self.client, self.app_key, self.generation)


@dataclass(frozen=True, slots=True)
class ApplicationDecision:
    """The app instance after a command; ``applied`` is false when the command was too old."""

    application: Application
    applied: bool
    changed: bool


def register(
    known: Application,
    *,
    sequence: int,
    key_id: str,
    now: datetime,
    sender_key: str | None = None,
) -> ApplicationDecision:
    """Decide ``application.register``. Idempotent; an older sequence, or an equal one of another
    command, changes nothing.

    The caller fills ``fingerprint`` in from the token. Another ``sender_key`` than before ends the
    old token: a different subscription, as browsers have it.
    """
    same = known.registered and known.sender_key == sender_key
    if sequence < known.sequence or (sequence == known.sequence and not same):
        return ApplicationDecision(known, applied=False, changed=False)
    if same:
        ended = known.replaced if sequence == known.sequence else None
        after = replace(known, sequence=sequence, replaced=ended)
        return ApplicationDecision(after, applied=True, changed=after != known)
    again = replace(
        known,
        generation=max(known.generation + 1, _generation(now)),
        key_id=key_id,
        sequence=sequence,
        registered=True,
        registered_at=now,
        revoked_reason=None,
        sender_key=sender_key,
        replaced=known.fingerprint if known.registered else None,
    )
    return ApplicationDecision(again, applied=True, changed=True)


def deregister(known: Application, *, sequence: int) -> ApplicationDecision:
    """Decide ``application.deregister``. An older sequence, or an equal one of a registration,
    changes nothing.
    """
    if sequence < known.sequence or (sequence == known.sequence and known.registered):
        return ApplicationDecision(known, applied=False, changed=False)
    after = replace(revoke(known, "deregistered"), sequence=sequence, replaced=None)
    return ApplicationDecision(after, applied=True, changed=after != known)


def never_registered(
    *, client: str, application: str, instance: str, key_id: str, now: datetime
) -> Application:
    """An app instance before its first command, whose number is 1 at least.

    If that is a deregistration, its number is stored, too: an earlier registration that arrives
    later must not override it.
    """
    return Application(
        client, application, instance, 0, key_id, 0, False, "", now, revoked_reason="deregistered"
    )


def forgettable(known: Sequence[Application], *, keep: int, now: datetime) -> Sequence[Application]:
    """The ended app instances of a client beyond the newest ``keep``, by their command numbers.

    An older command could revive a removed instance, but never a token that ended: the generation
    of a new token is higher.
    """
    ended = sorted(
        (app for app in known if not app.registered), key=lambda app: app.sequence, reverse=True
    )
    return [app for app in ended[keep:] if app.generation < _generation(now) - _CLOCKS_AGREE]


def _generation(now: datetime) -> int:
    """The lowest generation of a row that is made now: seconds since 1970."""
    return int(now.timestamp())


def token_owner(
    client: Client | None,
    application: Application | None,
    *,
    generation: int | None = None,
    fingerprint: str | None = None,
) -> Application | None:
    """The app instance of a token, or None if the token is not valid.

    A token is valid if it is the present one of a registered instance whose client is not retired.
    Only this function decides that. The token is identified by the ``generation`` that was read
    from it, or by its ``fingerprint``.
    """
    if client is None or client.retired or application is None or not application.registered:
        return None
    if generation is not None and generation != application.generation:
        return None
    if fingerprint is not None and fingerprint != application.fingerprint:
        return None
    return application


def revoke(known: Application, reason: str) -> Application:
    """The app instance without a valid token."""
    if not known.registered:
        return known
    return replace(known, registered=False, revoked_reason=reason)
