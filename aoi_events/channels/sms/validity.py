"""The validity period of a message, in the format of SMPP. Pure."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 28 * 86_400


def relative_time(seconds: float) -> str:
    """``seconds`` from now as SMPP's relative time (7.1.1.2): at least 1 s, at most 28 days."""
    whole = min(max(int(seconds), 1), _LONGEST)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"0000{day:02}{hour:02}{minute:02}{second:02}000R"
