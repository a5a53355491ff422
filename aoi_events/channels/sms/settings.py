"""Settings of the SMS channel: one SMSC or several, reached over SMPP 3.4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from unicodedata import category

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from aoi_events.channels.sms.spelling import ReceiptIds
from aoi_events.channels.sms.validity import Validity
from aoi_events.oma_push.datagrams import MOST_SEGMENTS, Bits
from aoi_events.platform.settings import LEAST, Cost, Host, Seconds, Section, form, from_json


def _separated(value: Any) -> Any:
    """Read a list from an environment variable: JSON, or one text that is separated by commas."""
    if isinstance(value, str) and not value.startswith("["):
        return [each.strip() for each in value.split(",")]
    return from_json(value)


def _number(value: Any) -> Any:
    """Read a number from the text of an environment variable."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


Octet = Annotated[int, Field(ge=0, le=255)]
Prefix = Annotated[str, form(r"\+[1-9][0-9]{0,14}", "the beginning of a number, like +31")]
Name = Annotated[str, form("[a-z0-9][a-z0-9-]{0,31}", "up to 32 of a-z, 0-9 and -")]
_Visible = form(r"[\x21-\x7e]*", "ASCII characters without white space")


class SmscSettings(Section):
    """One SMSC, how fast we may send to it, and how long we wait for it."""

    host: Host | None = None
    """Name or address of the SMSC; unset: no SMS channel."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 2775
    """TCP port of the SMSC."""
    tls: bool = False
    """TLS to the SMSC, verified against the system's certificates or `ca_file`."""
    ca_file: Path | None = None
    """PEM file with the certificates to trust instead of the system's."""
    bind: Literal["transceiver", "transmitter_receiver", "transmitter"] = "transceiver"
    """How to bind: as a transceiver; as a transmitter and, over a second connection, a receiver; or
    as a transmitter only, which gets no receipts."""
    system_id: Annotated[str, Field(max_length=15), _Visible] = "aoi"
    """Our account at the SMSC (SMPP 3.4, 5.2.1)."""
    password_octets: Annotated[int, Field(ge=8, le=64)] = 8
    """Longest password that the SMSC takes; SMPP 3.4 allows 8 octets (5.2.2)."""
    password: SecretStr = SecretStr("")
    """The password of the account, sent as UTF-8."""
    system_type: Annotated[str, Field(max_length=12), _Visible] = ""
    """Kind of our system, if the SMSC wants one (SMPP 3.4, 5.2.3)."""
    source: Annotated[
        str,
        form(
            r"\+?[0-9]{1,15}|[A-Za-z0-9 ._-]{1,11}",
            "a number of up to 15 digits, or up to 11 letters, digits, spaces, dots, _ and -",
        ),
    ] = "AOI"
    """Sender of our messages: +E.164, a short code, or up to 11 letters and digits."""
    source_ton: Octet | None = None
    """Type of number of `source` (SMPP 3.4, 5.2.5); unset: 1 for +E.164, 0 for a short code, 5 for
    a name."""
    source_npi: Octet | None = None
    """Numbering plan of `source` (SMPP 3.4, 5.2.6); unset: 1 for digits, 0 for a name."""
    destination_ton: Octet = 1
    """Type of number of telephones; they are sent in international form, without +."""
    destination_npi: Octet = 1
    """Numbering plan of telephones."""
    service_type: Annotated[str, Field(max_length=5), _Visible] = ""
    """Kind of our messages, if the SMSC wants one (SMPP 3.4, 5.2.11)."""
    validity: Validity = "relative"
    """How to say until when a message is of use: for how long, at what time (UTC), or none."""
    registered_delivery: Annotated[int, Field(ge=0, le=31)] = 1
    """Which receipts to ask for (SMPP 3.4, 5.2.17): 1 all, 2 only of failures, 0 none. Without
    receipts the next channel never follows a message that the SMSC took and lost."""
    receipt_ids: ReceiptIds = "auto"
    """How receipts spell message IDs, beside the responses to submissions: alike but for case and
    padding (`same`), `decimal` where responses are hexadecimal, or `hexadecimal` where they are
    decimal; `auto` finds out."""
    prefixes: Annotated[tuple[Prefix, ...], BeforeValidator(_separated)] = ()
    """Prefixes of the numbers that the SMSC takes (`+31, +49`); empty: all numbers."""
    rate: Annotated[float, Field(ge=LEAST, le=10_000)] | None = None
    """Most short messages a second that each copy of the worker sends to the SMSC; unset: no
    limit."""
    window: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Most submissions that wait for their response at once."""
    response_time: Annotated[float, Field(ge=LEAST, le=25)] = 10.0
    """Seconds to wait for the response to a submission or *enquire_link*."""
    connect_time: Annotated[float, Field(ge=LEAST, le=60)] = 10.0
    """Seconds to connect and bind."""
    enquire_link: Seconds = 30.0
    """Seconds without anything from the SMSC after which it is sent *enquire_link*."""
    throttle_pause: Annotated[float, Field(ge=LEAST, le=60)] = 1.0
    """Seconds without submissions after the SMSC throttled us, or its queue was full."""
    reconnect_first: Annotated[float, Field(ge=LEAST, le=10)] = 0.2
    """Seconds before the first new attempt to connect; doubled for each further one."""
    reconnect_most: Annotated[float, Field(ge=LEAST, le=300)] = 10.0
    """Longest pause between attempts to connect, in seconds."""
    turn_time: Annotated[float, Field(ge=LEAST, le=300)] = 20.0
    """Seconds that a message waits for the link, the window, the rate and a throttled SMSC, before
    it is retried later."""

    @field_validator("password")
    @classmethod
    def _password_fits(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        text = password.get_secret_value()
        octets = text.encode()
        most = info.data.get("password_octets", len(octets))
        if any(category(each) == "Cc" for each in text):
            raise ValueError("must not have control characters")
        if len(octets) > most:
            raise ValueError(
                f"has {len(octets)} octets, more than {most}: raise password_octets if the SMSC "
                "takes it"
            )
        return password

    @field_validator("reconnect_most")
    @classmethod
    def _not_below_the_first(cls, most: float, info: ValidationInfo) -> float:
        if most < (first := info.data.get("reconnect_first", most)):
            raise ValueError(f"is less than reconnect_first, {first:g}: raise it")
        return most

    @field_validator("ca_file")
    @classmethod
    def _trusts_with_tls(cls, ca_file: Path | None, info: ValidationInfo) -> Path | None:
        if ca_file is not None and not info.data.get("tls", True):
            raise ValueError("is of no use without TLS: set tls, or remove it")
        return ca_file


class SmsSettings(SmscSettings):
    """The SMSC, or the table of several, and the limits of a push.

    Without a host the channel is not configured: a device that offers it is refused.
    """

    smscs: Annotated[Mapping[Name, SmscSettings], BeforeValidator(from_json)] = Field(
        default_factory=dict
    )
    """Several SMSCs instead of the one above: a table of such settings by name
    (`AOI_CHANNELS__SMS__SMSCS__EU__HOST`, `…__EU__PREFIXES`). A number goes to the SMSC with the
    longest prefix of it, and to the next one that takes it while that is down."""
    parts: Annotated[int, Field(ge=1, le=MOST_SEGMENTS)] = 4
    """Most short messages for one push; a larger notification becomes a wake-up."""
    reference_bits: Annotated[Bits, BeforeValidator(_number)] = 16
    """Width of the reference that parts of a push have in common, 8 or 16 bits. 16 takes one octet
    more of each part, and mixes up nothing where a telephone gets many."""
    ack_within: Seconds = 60.0
    """Seconds that a device may take to acknowledge what went out by SMS."""
    cost: Cost = 1.0
    """Cost of one message, in any unit that the channels share."""

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.smscs and self.host is not None:
            raise ValueError("set either host, for one SMSC, or smscs, for several: not both")
        beside = [
            name
            for name, setting in sorted(SmscSettings.model_fields.items())
            if getattr(self, name) != setting.default
        ]
        if self.smscs and beside:
            raise ValueError(
                f"set smscs, and not {', '.join(beside)}: with smscs they are of no effect, set "
                "them in the table of each SMSC"
            )
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

    @property
    def accounts(self) -> Mapping[str, str]:
        """For each SMSC the name of the first one with the same host, port and system_id: it gives
        the messages of an account their IDs, and may send their receipts over any of its binds.
        """
        first: dict[tuple[str, int, str], str] = {}
        return {
            name: first.setdefault(((each.host or "").lower(), each.port, each.system_id), name)
            for name, each in self.providers.items()
        }
