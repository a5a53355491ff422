"""The URL of the broker: one for each address of a list, in their parts."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from aoi_events.platform.settings import host

_FORMS: Final = (
    "give amqp://USER:PASSWORD@HOST:PORT/VHOST (several nodes: HOST:PORT,HOST:PORT), amqps://… "
    "or memory://USER@SERVER"
)


def broker_urls(text: str) -> tuple[SplitResult, ...]:
    """The parts of the broker's URL, once for each address: ``amqp://user:password@a:5672,b/aoi``
    are those of ``a:5672`` and of ``b``. Raises ValueError, which never repeats a password.
    """
    scheme, separator, rest = text.partition("://")
    if "://" in rest.partition("?")[0]:
        raise ValueError(f"the broker's URL must be one URL that lists its hosts; {_FORMS}")
    end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    user, sign, hosts = rest[:end].rpartition("@")
    named = [hosts] if scheme.lower() == "memory" else hosts.split(",")
    return tuple(_parts(f"{scheme}{separator}{user}{sign}{each}{rest[end:]}") for each in named)


def _parts(text: str) -> SplitResult:
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
