"""Check and normalisation of the URLs that devices name. Pure.

A URL is accepted only if every parser of URLs reads it alike. Unusual URLs are refused and not
repaired, because another parser may read a different host from them.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

from aoi_events.channels.base.http.addresses import permitted
from aoi_events.channels.base.http.settings import OutgoingSettings

_LONGEST: Final = 4096
_PLAIN: Final = re.compile(r"[!#-;=?-\[\]_a-z~%]+")
"""The characters of a URL (RFC 3986, section 2), in ASCII."""
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class BadUrl(ValueError):
    """A URL was refused; the text names what to offer instead, and never repeats the URL."""


def checked_url(text: str, settings: OutgoingSettings) -> str:
    """The URL in ``text``, normalised. Raises BadUrl.

    Names are looked up when something is sent there, not here.
    """
    if len(text) > _LONGEST:
        raise BadUrl(f"offer a URL of at most {_LONGEST} characters")
    if not _PLAIN.fullmatch(text):
        raise BadUrl("offer a URL in ASCII: no spaces, other letters percent-encoded")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadUrl("offer a URL like https://push.example.org/path") from None
    scheme = parts.scheme
    if scheme not in _DEFAULT_PORTS or (scheme == "http" and not settings.allow_http):
        raise BadUrl("offer a URL that begins with https://")
    if "@" in parts.netloc:
        raise BadUrl("offer a URL without a user name and password")
    if "#" in text:
        raise BadUrl("offer a URL without a fragment (#)")
    port = _DEFAULT_PORTS[scheme] if port is None else port
    if settings.ports and port not in settings.ports:
        known = ", ".join(str(each) for each in settings.ports)
        raise BadUrl(f"offer a URL on a port that this server sends to: {known}")
    host = _host(parts.netloc, settings)
    where = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{where}{parts.path or '/'}{query}"


def _host(netloc: str, settings: OutgoingSettings) -> str:
    if netloc.startswith("["):
        text, bracket, rest = netloc[1:].partition("]")
        try:
            address = IPv6Address(text)
        except ValueError:
            raise BadUrl("offer a URL with a host name, or an IPv6 address in brackets") from None
        if not bracket or (rest and not rest.startswith(":")) or address.scope_id is not None:
            raise BadUrl("offer a URL with a host name, or an IPv6 address in brackets")
        _permit(str(address), settings)
        return f"[{address}]"
    name = netloc.partition(":")[0].lower()
    labels = name.split(".")
    # Decimal, octal, hexadecimal and shortened forms, which some parsers read as addresses.
    if _NUMBER.fullmatch(labels[-1]):
        try:
            address4 = IPv4Address(name)
        except ValueError:
            raise BadUrl("offer a URL with a host name, or four decimal numbers") from None
        _permit(str(address4), settings)
        return str(address4)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadUrl("offer a URL with the name of a host")
    return name


def _permit(address: str, settings: OutgoingSettings) -> None:
    if not permitted(address, settings.networks):
        raise BadUrl("offer a URL with a public address: this server sends to no others")


def origin_of(url: str) -> str:
    """Scheme, host and port of a normalised URL (RFC 6454, section 4)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"
