"""Settings of the SMS channel: one SMSC or several, reached over SMPP 3.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from aoi_events.contracts.base import BUILT_WHEN_USED
from aoi_events.oma_push.datagrams import MOST_SEGMENTS, Bits


def _separated(value: Any) -> Any:
    """Split the form of a list in an environment variable: one text, separated by commas."""
    return [each.strip() for each in value.split(",")] if isinstance(value, str) else value


Prefix = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{0,14}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class SmscSettings(BaseModel):
    """One SMSC, how fast we may send to it, and how long we wait for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", **BUILT_WHEN_USED)

    host: str | None = None
    """Name or address of the SMSC; unset: no SMS channel."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 2775
    """TCP port of the SMSC."""
    tls: bool = False
    """TLS to the SMSC, verified against the system's certificates."""
    system_id: Annotated[str, Field(max_length=15, pattern=r"^[\x21-\x7e]*$")] = "aoi"
    """Our account at the SMSC (SMPP 3.4, 5.2.1)."""
    password: Annotated[SecretStr, Field(max_length=8)] = SecretStr("")
    """The password of the account, at most 8 characters (SMPP 3.4, 5.2.2)."""
    system_type: Annotated[str, Field(max_length=12, pattern=r"^[\x21-\x7e]*$")] = ""
    """Kind of our system, if the SMSC wants one (SMPP 3.4, 5.2.3)."""
    source: Annotated[str, Field(pattern=r"^(\+?[0-9]{1,15}|[A-Za-z0-9 ._-]{1,11})$")] = "AOI"
    """Sender of our messages: +E.164, a short code, or up to 11 letters and digits."""
    prefixes: Annotated[tuple[Prefix, ...], BeforeValidator(_separated)] = ()
    """Prefixes of the numbers that the SMSC takes (`+31, +49`); empty: all numbers."""
    rate: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Most short messages a second that each copy of the worker sends to the SMSC; unset: no
    limit."""
    window: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Most submissions that wait for their response at once."""
    response_time: Annotated[float, Field(gt=0, le=25)] = 10.0
    """Seconds to wait for the response to a submission (below the 30 s of the SMPP library)."""
    connect_time: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Seconds to connect and bind."""
    throttle_pause: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Seconds without submissions after the SMSC throttled us, or its queue was full."""
    reconnect_first: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Seconds before the first new attempt to connect; doubled for each further one."""
    reconnect_most: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Longest pause between attempts to connect, in seconds."""
    turn_time: Annotated[float, Field(gt=0, le=300)] = 20.0
    """Seconds that a message waits for the link, the window, the rate and a throttled SMSC, before
    it is retried later."""


class SmsSettings(SmscSettings):
    """The SMSC, or the table of several, and the limits of a push.

    Without a host the channel is not configured: a device that offers it is refused.
    """

    smscs: Mapping[Name, SmscSettings] = Field(default_factory=dict)
    """Several SMSCs instead of the one above: a table of such settings by name
    (`AOI_CHANNELS__SMS__SMSCS__EU__HOST`, `…__EU__PREFIXES`). A number goes to the SMSC with the
    longest prefix of it, and to the next one that takes it while that is down."""
    parts: Annotated[int, Field(ge=1, le=MOST_SEGMENTS)] = 4
    """Most short messages for one push; a larger notification becomes a wake-up."""
    reference_bits: Bits = 16
    """Width of the reference that parts of a push have in common, 8 or 16 bits. 16 takes one octet
    more of each part, and mixes up nothing where a telephone gets many."""
    ack_within: Annotated[float, Field(gt=0, le=3_600)] = 60.0
    """Seconds that a device may take to acknowledge what went out by SMS."""
    cost: Annotated[float, Field(ge=0)] = 1.0
    """Cost of one message, in any unit that the channels share."""

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.smscs and self.host is not None:
            raise ValueError("set either host, for one SMSC, or smscs, for several: not both")
        for name, smsc in self.smscs.items():
            if smsc.host is None:
                raise ValueError(f"the SMSC {name} has no host: set smscs.{name}.host")
        return self

    @property
    def providers(self) -> Mapping[str, SmscSettings]:
        """The SMSCs by name: that of the table, or ``system_id@host:port`` of the only one."""
        if self.host is None:
            return self.smscs
        return {f"{self.system_id}@{self.host}:{self.port}": self}
