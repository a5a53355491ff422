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
        cut = "@" in f"{parts.path}{parts.query}{parts.fragment}"  # by a password
        wrong = cut or parts.port == 0 or " " in text or not text.isprintable()
    except ValueError:
        wrong = True
    if wrong:
        raise ValueError(
            f"the broker's URL cannot be read; {_FORMS}, and write @ : / ? # in a password as "
            "%40 %3A %2F %3F %23"
        )
    if parts.scheme not in ("amqp", "amqps", "memory"):
        raise ValueError(f"no broker speaks {parts.scheme!r}; {_FORMS}")
    if parts.scheme != "memory":
        try:
            host(parts.hostname or "")
        except ValueError:
            raise ValueError(f"the broker's URL has no valid host; {_FORMS}") from None
    return parts
