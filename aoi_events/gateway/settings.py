"""Settings of a gateway, with the limits that protect devices from each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from aoi_events.platform.address import key_needs_certificate
from aoi_events.platform.settings import LEAST, Host, Seconds, Section


class GatewaySettings(Section):
    """The address that devices connect to, and the limits on their time, requests and memory."""

    host: Host = "127.0.0.1"
    """Address to listen on; ``::`` for all, IPv6 and IPv4, ``0.0.0.0`` for all of IPv4."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8090
    """TCP port to listen on; 0: any free one."""
    certificate: Path | None = None
    """PEM file with the certificate chain for TLS. Unset: no TLS, except by a proxy."""
    private_key: Path | None = None
    """PEM file with the certificate's key, if it is not in the same file."""

    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Connections at once, handshakes included; any more are closed at once."""
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Connections at once from one IPv4 address or IPv6 /64 network; any more are closed at once.
    Behind a proxy, which all devices share, as many as ``max_connections``."""
    entries_per_second: Annotated[float, Field(ge=LEAST, le=1_000_000)] = 50.0
    """Hellos and registrations per second of one address in the long run; more are refused, and
    may be repeated later. Behind a proxy this limit is for all devices together."""
    entries_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000
    """Hellos and registrations that one address may make at once."""
    handshake_within: Seconds = 10.0
    """Seconds from the TCP connection to the complete WebSocket request."""
    hello_within: Seconds = 10.0
    """Seconds from the WebSocket, or the answer to a registration, to the ``hello``."""
    ping_every: Seconds = 30.0
    """Seconds of silence, of the device or of the gateway, after which the device is pinged."""
    pong_within: Seconds = 10.0
    """Seconds of silence after a ping until the connection counts as gone."""
    close_within: Seconds = 5.0
    """Seconds that a device has to answer a close, and to read what was sent before it."""
    request_within: Seconds = 10.0
    """Seconds to wait for a worker's answer."""
    drain_within: Seconds = 10.0
    """Seconds to hand over the last outcomes when the gateway stops."""
    tick: Annotated[float, Field(ge=LEAST, le=10)] = 1.0
    """Seconds between two checks of the time limits above; each may be exceeded by one tick."""

    window: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Deliveries in flight to one device at once: sent and not acknowledged."""
    backlog: Annotated[int, Field(ge=0, le=10_000)] = 256
    """Deliveries that wait for a place in the window; more are refused for now."""
    forget_after: Seconds = 60.0
    """Seconds after which an unacknowledged delivery no longer takes a place in the window."""
    requests_in_flight: Annotated[int, Field(ge=1, le=1_000)] = 16
    """Requests of one device that may wait for their answer at once. More are refused, but a
    browser's wait for their turn, because it repeats none."""
    commands_octets: Annotated[int, Field(ge=32_768, le=2**30)] = 262_144
    """Octets of a browser's commands that may wait for their turn; more are refused."""
    commands_within: Seconds = 60.0
    """Seconds that a browser's command may wait for its turn; then it is refused."""
    commands_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Commands about app instances, or subscriptions of a browser, that one device may send as fast
    as the workers answer; ``frames_per_second`` after that. They do not count as frames."""
    requests_at_once: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Requests of all devices that are at the broker at once; more wait for their turn."""
    requests_waiting: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    """Requests of all devices that wait for their turn; more are answered *unavailable*."""
    frames_per_second: Annotated[float, Field(ge=LEAST, le=100_000)] = 20.0
    """Frames per second that a device may send in the long run; acknowledgements of deliveries that
    were sent to it on this connection do not count."""
    frames_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Frames that it may send at once. As many again are refused; then the connection ends."""
    write_buffer: Annotated[int, Field(ge=65_536, le=2**30)] = 1_048_576
    """Octets that one device may leave unread; above that the connection ends."""

    probe_every: Seconds = 2.0
    """Seconds between two probes, small messages through the gateway's queue to itself."""
    probe_within: Seconds = 3.0
    """Seconds that a probe may be away; then the gateway connects to the broker again and opens
    another queue. Twice as long after each queue that fails, three times."""
    announce_every: Seconds = 30.0
    """Seconds in which the gateway reports all its open sessions to the workers once, 500 in one
    request. They write only what the store has otherwise."""
    prefetch: Annotated[int, Field(ge=1, le=65_535)] = 500
    """Messages from the workers that this gateway takes at once, before it acknowledges them."""
    outbox: Annotated[int, Field(ge=1_000, le=10_000_000)] = 100_000
    """Outcomes that may wait for the broker; above that the oldest are dropped, and the deadlines
    of their deliveries settle them."""

    _key_needs_certificate = model_validator(mode="after")(key_needs_certificate)
