"""Settings of an endpoint, with the limits that protect senders from each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from aoi_events.contracts.senders import KEY_NAME
from aoi_events.platform.address import key_needs_certificate
from aoi_events.platform.limiters import Network, parsed_network
from aoi_events.platform.settings import LEAST, Host, Seconds, Section, form, host

_ORIGIN: Final = "must be http:// or https://, a host, and perhaps a port"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """The origin of a URL as a browser writes it (RFC 6454, section 6.1).

    Raises ValueError unless it is an ``http`` or ``https`` URL with a host and perhaps a port.
    """
    try:
        parts = urlsplit(url)
        name, port = host(parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError(_ORIGIN) from None
    if parts.scheme not in _DEFAULT_PORTS or parts.username is not None:
        raise ValueError(_ORIGIN)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must end after host and port")
    name = f"[{name}]" if ":" in name else name
    if port is None or port == _DEFAULT_PORTS[parts.scheme]:
        return f"{parts.scheme}://{name}"
    return f"{parts.scheme}://{name}:{port}"


_Origin = Annotated[str, AfterValidator(origin_of)]
_KeyName = Annotated[
    str, form(KEY_NAME, "a name of up to 64 letters, digits, dots, _ and -, like shop")
]
_Sha256 = Annotated[str, form("[0-9a-f]{64}", "the 64 hexadecimal digits of `aoi keys api NAME`")]


class EndpointSettings(Section):
    """The address that Application Servers send to, and the limits on their time and requests."""

    host: Host = "127.0.0.1"
    """Address to listen on; ``::`` for all, IPv6 and IPv4, ``0.0.0.0`` for all of IPv4."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8092
    """TCP port to listen on; 0: any free one."""
    public_url: _Origin | None = None
    """The public URL of the endpoint, such as ``https://push.example.org``: the beginning of every
    URL that it returns, and the audience of VAPID tokens. Unset: ``http://localhost`` and the port.
    Gateways need it, too: the endpoints that browsers get begin with it."""
    certificate: Path | None = None
    """PEM file with the certificate chain for TLS. Unset: no TLS, except by a proxy."""
    private_key: Path | None = None
    """PEM file with the certificate's key, if it is not in the same file."""
    proxies: tuple[Annotated[Network, BeforeValidator(parsed_network)], ...] = ()
    """Addresses and networks of proxies whose ``X-Forwarded-For`` is trusted."""
    api_keys: dict[_KeyName, _Sha256] = Field(default_factory=dict)
    """API keys of the JSON API: name → SHA-256 of the key (``aoi keys api NAME`` makes both)."""

    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000
    """Connections at once; any more are closed at once."""
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """Connections at once from one address (one /64 of IPv6), unless it is one of ``proxies``; any
    more are closed at once."""
    head_within: Seconds = 10.0
    """Seconds for the head of a request, from its first octet or from the TCP connection."""
    body_within: Seconds = 10.0
    """Seconds for the body of a request, from its head."""
    keep_alive: Annotated[int, Field(ge=1, le=3_600)] = 30
    """Seconds after which an idle connection is closed."""
    head_octets: Annotated[int, Field(ge=4_096, le=1_048_576)] = 16_384
    """Octets that the head of a request may have."""
    head_fields: Annotated[int, Field(ge=16, le=1_000)] = 64
    """Header fields that a request may have."""
    request_within: Seconds = 10.0
    """Seconds to wait for a worker's answer."""
    drain_within: Seconds = 10.0
    """Seconds to answer the requests in progress when the endpoint stops."""
    requests_at_once: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Requests that are at the broker at once; more wait for their turn."""
    requests_waiting: Annotated[int, Field(ge=0, le=1_000_000)] = 2_000
    """Requests that wait for their turn; more are answered 503."""

    sender_per_second: Annotated[float, Field(ge=LEAST, le=1_000_000)] = 200.0
    """Requests per second of one sender (a VAPID key or an API key) in the long run."""
    sender_burst: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000
    """Requests that one sender may make at once; more are answered 429."""
    address_per_second: Annotated[float, Field(ge=LEAST, le=1_000_000)] = 500.0
    """Requests per second from one address (one /64 of IPv6) in the long run, of all senders."""
    address_burst: Annotated[int, Field(ge=1, le=10_000_000)] = 2_000
    """Requests that may come from one address at once; more are answered 429."""

    _key_needs_certificate = model_validator(mode="after")(key_needs_certificate)
