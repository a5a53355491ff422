"""Application Clients: app instances on a client, and the numbers of their commands (8.1.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from aoi_events.domain.tokens import TokenClaims, app_key_of

__all__ = ["Application", "ApplicationDecision", "deregister", "register", "revoke"]


@dataclass(frozen=True, slots=True)
class Application:
    """One app instance on a client.

    ``generation`` rises each time that a revoked registration is made anew, so the old token stays
    dead. ``key_id`` is the token key that issued the present token. ``sequence`` numbers the
    client's commands about this instance.
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

    @property
    def app_key(self) -> str:
        """The instance's name in 128 bits."""
        return app_key_of(self.application, self.instance)

    @property
    def claims(self) -> TokenClaims:
        """What its token stands for."""
        return TokenClaims(self.client, self.app_key, self.generation)


@dataclass(frozen=True, slots=True)
class ApplicationDecision:
    """The instance after a command; ``applied`` is false when the command was too old."""

    application: Application
    applied: bool
    changed: bool


def register(
    known: Application | None,
    *,
    client: str,
    application: str,
    instance: str,
    sequence: int,
    key_id: str,
    now: datetime,
) -> ApplicationDecision:
    """Decide ``application.register``: idempotent; an older sequence, or an equal one that was a
    deregistration, changes nothing. The caller fills ``fingerprint`` in from the token.
    """
    if known is None:
        fresh = Application(
            client, application, instance, 1, key_id, sequence, True, "", registered_at=now
        )
        return ApplicationDecision(fresh, applied=True, changed=True)
    if sequence < known.sequence or (sequence == known.sequence and not known.registered):
        return ApplicationDecision(known, applied=False, changed=False)
    if known.registered:
        after = replace(known, sequence=sequence)
        return ApplicationDecision(after, applied=True, changed=after != known)
    again = replace(
        known,
        generation=known.generation + 1,
        key_id=key_id,
        sequence=sequence,
        registered=True,
        registered_at=now,
        revoked_reason=None,
    )
    return ApplicationDecision(again, applied=True, changed=True)


def deregister(known: Application, *, sequence: int) -> ApplicationDecision:
    """Decide ``application.deregister``; an older sequence, or an equal one that was a
    registration, changes nothing.
    """
    if sequence < known.sequence or (sequence == known.sequence and known.registered):
        return ApplicationDecision(known, applied=False, changed=False)
    after = replace(revoke(known, "deregistered"), sequence=sequence)
    return ApplicationDecision(after, applied=True, changed=after != known)


def revoke(known: Application, reason: str) -> Application:
    """The instance without a valid token."""
    if not known.registered:
        return known
    return replace(known, registered=False, revoked_reason=reason)
