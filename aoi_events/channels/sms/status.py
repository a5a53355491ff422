"""The meaning of an SMSC's ``command_status`` for a message (SMPP 3.4, 5.1.3). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class SubmitStatus(StrEnum):
    """The result of a submission to an SMSC."""

    ACCEPTED = "accepted"
    """The SMSC took it, under ``message_ids``."""
    THROTTLED = "throttled"
    """Refused, because we are too fast or the queue of the SMSC is full."""
    REFUSED = "refused"
    """Refused now; a retry may succeed."""
    MISCONFIGURED = "misconfigured"
    """Refused because of our settings or our account: the operator must change something."""
    BAD_ADDRESS = "bad_address"
    """Refused for good: the SMSC does not know the number."""
    REJECTED = "rejected"
    """Refused for good, for another reason."""
    UNANSWERED = "unanswered"
    """Submitted, without a response: the SMSC may have taken it."""
    BUSY = "busy"
    """Not sent: more messages wait for the SMSC than it takes in time."""
    NOT_SENT = "not_sent"
    """Not sent: the window was full, or the SMSC throttled us, for too long, or it does not know
    our session."""
    UNAVAILABLE = "unavailable"
    """Not sent: there is no link to the SMSC."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The result of one submission; ``detail`` is for people.

    ``message_ids``: the SMSC's ID of each message that it took, None where it named none.
    ``retry_after``: seconds without another attempt; 0: as long as usual.
    """

    status: SubmitStatus
    message_ids: tuple[str | None, ...] = ()
    detail: str = ""
    retry_after: float = 0.0


MISCONFIGURED_FOR: Final = 60.0
"""Seconds until a message is tried again that was refused because of our settings."""

OK: Final = 0x00
INVALID_LENGTH: Final = 0x02
INVALID_COMMAND: Final = 0x03
INVALID_BIND_STATE: Final = 0x04
QUEUE_FULL: Final = 0x14
INVALID_EXPIRY: Final = 0x62
PERMANENT_ERROR: Final = 0x65

_NAMES: Final = {
    0x01: "RINVMSGLEN",
    INVALID_LENGTH: "RINVCMDLEN",
    INVALID_COMMAND: "RINVCMDID",
    INVALID_BIND_STATE: "RINVBNDSTS",
    0x05: "RALYBND",
    0x06: "RINVPRTFLG",
    0x07: "RINVREGDLVFLG",
    0x08: "RSYSERR",
    0x0A: "RINVSRCADR",
    0x0B: "RINVDSTADR",
    0x0C: "RINVMSGID",
    0x0D: "RBINDFAIL",
    0x0E: "RINVPASWD",
    0x0F: "RINVSYSID",
    QUEUE_FULL: "RMSGQFUL",
    0x15: "RINVSERTYP",
    0x43: "RINVESMCLASS",
    0x45: "RSUBMITFAIL",
    0x48: "RINVSRCTON",
    0x49: "RINVSRCNPI",
    0x50: "RINVDSTTON",
    0x51: "RINVDSTNPI",
    0x53: "RINVSYSTYP",
    0x54: "RINVREPFLAG",
    0x58: "RTHROTTLED",
    0x61: "RINVSCHED",
    INVALID_EXPIRY: "RINVEXPIRY",
    0x63: "RINVDFTMSGID",
    0x64: "RX_T_APPN",
    PERMANENT_ERROR: "RX_P_APPN",
    0x66: "RX_R_APPN",
    0xFE: "RDELIVERYFAILURE",
    0xFF: "RUNKNOWNERR",
}
_SETTINGS: Final = {
    0x07: "registered_delivery",
    0x0A: "source",
    0x0D: "bind",
    0x0E: "password",
    0x0F: "system_id",
    0x15: "service_type",
    0x48: "source_ton",
    0x49: "source_npi",
    0x50: "destination_ton",
    0x51: "destination_npi",
    0x53: "system_type",
    0x61: "validity",
    INVALID_EXPIRY: "validity",
}
_REFUSED_AT_MOST: Final = 3
_WRONG_FORM: Final = (
    ", as every number before in this session (check destination_ton, destination_npi)"
)
_TOO_FAST: Final = frozenset({QUEUE_FULL, 0x58})
_BAD_ADDRESS: Final = frozenset({0x0B})
_TEMPORARY: Final = frozenset({0x05, 0x08, 0x45, 0x64, 0xFE, 0xFF})
_ABOUT_THE_MESSAGE: Final = frozenset({0x01, PERMANENT_ERROR, 0x66})
_FIRST_OF_VENDORS: Final = 0x400


def status_text(status: int) -> str:
    """A status for people: number, name, and the setting that it is about."""
    text = f"0x{status:02X} {_NAMES.get(status, '')}".rstrip()
    return f"{text} (check {_SETTINGS[status]})" if status in _SETTINGS else text


def submitted_of(status: int, message_id: str | None) -> Submitted:
    """The result of a submission that the SMSC answered.

    All fields of a message but number and content come from the settings. So a status that blames
    another field, or that the standard does not define, is the operator's: no device loses its
    channel by it. A status in the range of vendors counts as temporary.
    """
    if status == OK:
        if message_id:
            return Submitted(SubmitStatus.ACCEPTED, (message_id,))
        return Submitted(SubmitStatus.ACCEPTED, (None,), "the SMSC named no message ID")
    return Submitted(_meaning(status), detail=f"SMSC status {status_text(status)}")


def _meaning(status: int) -> SubmitStatus:
    if status in _TOO_FAST:
        return SubmitStatus.THROTTLED
    if status == INVALID_BIND_STATE:
        return SubmitStatus.NOT_SENT
    if status in _BAD_ADDRESS:
        return SubmitStatus.BAD_ADDRESS
    if status in _TEMPORARY or status >= _FIRST_OF_VENDORS:
        return SubmitStatus.REFUSED
    if status in _ABOUT_THE_MESSAGE:
        return SubmitStatus.REJECTED
    return SubmitStatus.MISCONFIGURED


class RefusedNumbers:
    """Numbers that an SMSC refused in one session. If it took none before, and the number got a
    challenge once, or if it refuses several in a row, then the form of all is wrong,
    ``destination_ton`` or ``destination_npi``, and not the number: no device loses its channel.
    """

    def __init__(self) -> None:
        self._numbers: set[str] = set()
        self._taken = False

    def judged(self, number: str, submitted: Submitted, *, proved: bool) -> Submitted:
        """The result of a submission to a number; ``proved``: it got a challenge once."""
        if submitted.status is SubmitStatus.ACCEPTED:
            self._taken = True
            self._numbers.clear()
        if submitted.status is not SubmitStatus.BAD_ADDRESS:
            return submitted
        if (self._taken or not proved) and len(self._numbers) < _REFUSED_AT_MOST:
            self._numbers.add(number)
        if number in self._numbers:
            return submitted
        return Submitted(SubmitStatus.MISCONFIGURED, detail=f"{submitted.detail}{_WRONG_FORM}")
