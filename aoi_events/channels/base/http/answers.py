"""The meaning of an HTTP answer for the item that was sent. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from aoi_events.channels.base.results import Verdict
from aoi_events.contracts.envelopes import OutcomeKind

_LONGEST_WAIT: Final = 86_400.0
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_BUSY: Final = frozenset({408, 425, 429})
"""Statuses that mean that a repeat may succeed soon (RFC 9110, RFC 8470, RFC 6585)."""


@dataclass(frozen=True, slots=True)
class FinalStatuses:
    """The statuses after which no repeat can succeed, as the protocol of a channel defines them.

    ``gone``: the address has ended, and with it the channel. ``rejected``: this message is wrong.
    """

    gone: frozenset[int]
    rejected: frozenset[int] = frozenset()


def verdict_of(
    status: int, retry_after: str | None, now: datetime, final: FinalStatuses
) -> Verdict:
    """The result for the item of an answer with ``status`` at ``now``.

    Only ``final`` statuses are permanent, because a permanent failure cannot be taken back, while
    the delivery's expiry bounds repeats. A status that a mistake of the receiver's operator causes
    (a path that is not deployed yet, credentials, a redirect) may last: then the item is
    *unavailable*, so that other channels are tried at once, and this one again later.
    """
    detail = f"HTTP status {status}"
    if 200 <= status < 300:
        return Verdict(OutcomeKind.ACCEPTED, detail)
    if status in final.gone:
        return Verdict(OutcomeKind.REJECTED, f"{detail}: gone", closes_channel=True)
    if status in final.rejected:
        return Verdict(OutcomeKind.REJECTED, detail)
    wait = seconds_to_wait(retry_after, now)
    works = status < HTTPStatus.INTERNAL_SERVER_ERROR
    if status >= 300 and works and status not in _BUSY:
        redirect = ": redirects are not followed" if status < 400 else ""
        return Verdict(OutcomeKind.UNAVAILABLE, f"{detail}{redirect}", retry_after=wait)
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
