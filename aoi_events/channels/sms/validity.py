"""The validity period of a message, in the formats of SMPP. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias, assert_never

Validity: TypeAlias = Literal["relative", "absolute", "none"]
"""How an SMSC wants to learn until when a message is of use."""

LONGEST: Final = 28 * 86_400
"""Seconds: longest validity period that we ask for."""


def validity_period(form: Validity, seconds: float, until: datetime) -> str:
    """The period that ends ``seconds`` from now, which is ``until``, and in 1 s at the earliest;
    empty: the SMSC decides.
    """
    match form:
        case "relative":
            return relative_time(seconds)
        case "absolute":
            return absolute_time(until + timedelta(seconds=max(1 - seconds, 0)))
        case "none":
            return ""
        case _:
            assert_never(form)


def relative_time(seconds: float) -> str:
    """``seconds`` from now as SMPP's relative time (7.1.1.2): at least 1 s, at most 28 days."""
    whole = min(max(int(seconds), 1), LONGEST)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"0000{day:02}{hour:02}{minute:02}{second:02}000R"


def absolute_time(until: datetime) -> str:
    """``until``, or the next whole second, as SMPP's absolute time (7.1.1.1), in UTC."""
    whole = until.astimezone(UTC) + timedelta(microseconds=-until.microsecond % 1_000_000)
    return f"{whole:%y%m%d%H%M%S}000+"
