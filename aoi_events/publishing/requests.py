"""Builds the requests of a sender, and checks them before they are sent."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from pydantic import ValidationError

from aoi_events.contracts.content import Content
from aoi_events.contracts.faults import in_words
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.contracts.requests import (
    CancelNotificationV1,
    QueryNotificationV1,
    SendNotificationV1,
)
from aoi_events.errors import ErrorCode, RequestRefused

DEFAULT_TTL = 24 * 3600
"""Default seconds after which a notification expires."""


def send_request(
    tokens: str | Iterable[str],
    content: Content | str | bytes,
    *,
    notification: str | None = None,
    ttl: int = DEFAULT_TTL,
    urgency: Urgency | str = Urgency.NORMAL,
    content_type: str | None = None,
    topic: str | None = None,
    mode: Mode | str | None = None,
    hedge_after: float | None = None,
) -> SendNotificationV1:
    """The request to deliver one content to one token or up to 1,000.

    Without ``notification`` an ID is generated: if no answer comes, repeat the same request object.
    ``ttl`` in seconds from acceptance, 0 to 28 days; 0 means now or never.
    ``content_type`` names the type of text or octets (``Content`` carries its own). ``topic``, 32
    characters of letters, digits, ``-`` and ``_`` at most, replaces what this sender sent to the
    same tokens under it and was not delivered yet. ``mode``: ``fallback``, ``parallel`` or
    ``hedged``, how a device's channels follow each other; in the last, each has a head start of
    ``hedge_after`` seconds (0.1 to a day). The default is the operator's choice. Raises
    RequestRefused (``invalid``) for what the server would refuse, before anything is sent.
    """
    try:
        return SendNotificationV1(
            version=1,
            notification=uuid4().hex if notification is None else notification,
            tokens=(tokens,) if isinstance(tokens, str) else tuple(tokens),
            content=_content(content, content_type),
            ttl=ttl,
            urgency=Urgency(urgency),
            topic=topic,
            mode=None if mode is None else Mode(mode),
            hedge_after=hedge_after,
        )
    except ValueError as error:
        raise _invalid(error) from None


def cancel_request(notification: str) -> CancelNotificationV1:
    """The request to cancel a notification. Raises RequestRefused (``invalid``)."""
    try:
        return CancelNotificationV1(version=1, notification=notification)
    except ValueError as error:
        raise _invalid(error) from None


def status_request(notification: str, delivery: str | None = None) -> QueryNotificationV1:
    """The request for the status of a notification. Raises RequestRefused (``invalid``)."""
    try:
        return QueryNotificationV1(version=1, notification=notification, delivery=delivery)
    except ValueError as error:
        raise _invalid(error) from None


def _content(content: Content | str | bytes, content_type: str | None) -> Content:
    if not isinstance(content, Content):
        return Content.of(content, content_type)
    if content_type is not None and content_type != content.type:
        raise ValueError("this Content has a type already; omit content_type")
    return content


def _invalid(error: ValueError) -> RequestRefused:
    if not isinstance(error, ValidationError):
        return RequestRefused(ErrorCode.INVALID, str(error))
    # The error must not contain the input: tokens and contents.
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    return RequestRefused(ErrorCode.INVALID, in_words(first), field=field)
