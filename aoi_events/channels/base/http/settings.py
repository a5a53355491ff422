"""Settings of every channel that sends HTTP requests to addresses that devices name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from aoi_events.platform.limiters import Network, parsed_network
from aoi_events.platform.proxy import ProxySetting
from aoi_events.platform.settings import LEAST, Cost, Seconds, Section, from_json

_SPARE: Final = 2.0
"""Seconds for the body of an answer, and for the way back of an outcome."""


class OutgoingSettings(Section):
    """Where requests may go, and what they may cost."""

    prefix: ClassVar = "AOI_CHANNELS"
    """The beginning of the variables of these settings."""

    enabled: bool = False
    """Whether devices may select this channel here."""
    networks: Annotated[
        tuple[Annotated[Network, BeforeValidator(parsed_network)], ...],
        BeforeValidator(from_json),
    ] = ()
    """Networks that requests may go to although they are private, loopback, link-local or
    otherwise not public, like `["10.20.0.0/16"]`. With `proxy` it is for addresses in URLs only,
    and not for names, which the proxy looks up."""
    ports: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65_535)], ...], BeforeValidator(from_json)
    ] = (443,)
    """TCP ports that requests may go to; empty: any."""
    allow_http: bool = False
    """Whether URLs may begin with `http:`; others can read such requests on the way."""
    proxy: ProxySetting | None = None
    """HTTP proxy for all requests, `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`; the
    proxies of the environment are not used. The proxy looks names up, so it, and not `networks`,
    must keep requests away from private addresses."""
    ca_file: Path | None = None
    """PEM file with the certificates to trust instead of the system's."""
    within: Annotated[float, Field(ge=LEAST, le=60)] = 10.0
    """Seconds that a request may take in all: name look-up, TLS, and the head of the answer. As
    long it may wait for its turn before."""
    connections: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Connections of one worker at once."""
    connections_per_host: Annotated[int, Field(ge=1, le=1_000)] = 32
    """Connections of one worker to one host and port at once, of which one URL uses a quarter at
    most."""
    failures: Annotated[int, Field(ge=1, le=1_000)] = 5
    """Requests in a row that fail before nothing is sent for a while: to one scheme, host and port
    that cannot be reached, or to one URL that does not answer, or answers 5xx."""
    probe_first: Seconds = 2.0
    """Seconds until one request probes whether it works again; doubled for each probe that
    fails."""
    probe_most: Seconds = 60.0
    """Longest pause between probes, in seconds."""
    ack_within: Annotated[float, Field(ge=LEAST, le=3_600, validate_default=True)] = 60.0
    """Seconds that a device may take to acknowledge an accepted notification: at least two seconds
    more than twice `within`, or a request that is still under way is sent again."""
    cost: Cost = 0.1
    """Cost of one message, in any unit that the channels share."""

    @field_validator("ack_within")
    @classmethod
    def _after_every_answer(cls, value: float, info: ValidationInfo) -> float:
        within = info.data.get("within")
        if within is not None and value < 2 * within + _SPARE:
            raise ValueError(
                f"must be at least {2 * within + _SPARE:g}, because within is {within:g}"
            )
        return value
