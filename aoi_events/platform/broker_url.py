"""The URL of the broker, in its parts."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from aoi_events.platform.settings import host

_FORMS: Final = "give amqp://USER:PASSWORD@HOST:PORT/VHOST, amqps://… or memory://USER@SERVER"


def broker_url(text: str) -> SplitResult:
    """The parts of the broker's URL. Raises ValueError, which never repeats a password."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # read when it is asked for
    except ValueError:
        raise ValueError(
            f"the broker's URL cannot be read; {_FORMS}, and write @, : and / in a password as "
            "%40, %3A and %2F"
        ) from None
    if parts.scheme not in ("amqp", "amqps", "memory"):
        raise ValueError(f"no broker speaks {parts.scheme!r}; {_FORMS}")
    if parts.scheme != "memory":
        try:
            host(parts.hostname or "")
        except ValueError:
            raise ValueError(f"the broker's URL has no valid host; {_FORMS}") from None
    return parts
