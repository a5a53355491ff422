"""Authorization of requests about an AOI Client: its secret, or the gateway session that
proved it.
"""

from __future__ import annotations

from typing import Protocol

from aoi_events.domain.clients.client import Client, authenticate, current
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.services.messages.requests import IncomingRequest


class _OfClient(Protocol):
    """A request about one client."""

    @property
    def client(self) -> str: ...
    @property
    def secret(self) -> str | None: ...


def proved_client(incoming: IncomingRequest, request: _OfClient, known: Client | None) -> Client:
    """The client that makes the request. Raises Refusal (unauthenticated, not_allowed,
    client_retired).
    """
    if request.secret is not None:
        return authenticate(known, request.secret)
    if incoming.session is None:
        raise Refusal(
            ErrorCode.UNAUTHENTICATED,
            "send the client's secret; only a gateway may leave it away, for an open session",
            field="secret",
        )
    if incoming.session != request.client or known is None:
        raise Refusal(
            ErrorCode.NOT_ALLOWED, "a session speaks for its own client only", field="client"
        )
    return current(known)
