"""The meaning of an HTTP answer for the item that was sent. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from aoi_events.channels.base.results import Verdict
from aoi_events.contracts.envelopes import OutcomeKind

_LONGEST_WAIT: Final = 86_400.0
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_GONE: Final = frozenset({404, 410})
_SERVER_ERROR: Final = 500
_TEMPORARY: Final = frozenset({408, 425, 429})
"""Statuses that mean that a repeat may succeed (RFC 9110, RFC 8470, RFC 6585)."""


def verdict_of(status: int, retry_after: str | None, now: datetime) -> Verdict:
    """The result for the item of an answer with ``status`` at ``now``.

    An undefined status counts as temporary: retries are bounded by the delivery's expiry anyway,
    while a permanent failure could not be taken back.
    """
    detail = f"HTTP status {status}"
    if 200 <= status < 300:
        return Verdict(OutcomeKind.ACCEPTED, detail)
    if status in _GONE:
        return Verdict(OutcomeKind.REJECTED, f"{detail}: gone", closes_channel=True)
    if 300 <= status < 400:
        return Verdict(OutcomeKind.REJECTED, f"{detail}: redirects are not followed")
    if 400 <= status < 500 and status not in _TEMPORARY:
        return Verdict(OutcomeKind.REJECTED, detail)
    wait = seconds_to_wait(retry_after, now)
    works = status < _SERVER_ERROR
    return Verdict(OutcomeKind.REFUSED, detail, retry_after=wait, works=works)


def seconds_to_wait(retry_after: str | None, now: datetime) -> float:
    """Seconds that a ``Retry-After`` asks for (RFC 9110, section 10.2.3): a number or a date.

    0 for none, or one that cannot be read; a day at most.
    """
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
        wait = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(wait, 0.0), _LONGEST_WAIT)
