"""Sessions that a gateway has had for a while, and that it says are open at its node."""

from __future__ import annotations

from datetime import datetime

from aoi_events.domain.clients.client import Client, Presence, connected, current
from aoi_events.errors import ErrorCode, Refusal


def same_session(known: Client | None, session: str) -> Client:
    """The client whose newest session this is, even if the store has it as closed: a delivery that
    came back from its node may have ended the presence.

    Raises Refusal (unauthenticated, client_retired, conflict) for every other session.
    """
    if known is None:
        raise Refusal(ErrorCode.UNAUTHENTICATED, "no AOI Client has this ID")
    client = current(known)
    if not client.presences or client.presences[-1].session != session:
        raise Refusal(ErrorCode.CONFLICT, "another session of this client has begun since")
    return client


def continued(
    known: Client | None, present: Presence, now: datetime, *, answer_by: datetime | None = None
) -> Client:
    """The client whose gateway reports that a session is open at ``present``.

    It is ``known`` itself where the store has it there: nothing is to be written. Otherwise the
    session goes on under a new epoch. Raises Refusal as :func:`same_session` and
    :func:`~aoi_events.domain.clients.client.connected` do, so that a late message about an older
    session, or about an older node of this one, changes nothing.
    """
    client = same_session(known, present.session)
    if client.presence == present:
        return client
    return connected(client, present, now, answer_by=answer_by)
