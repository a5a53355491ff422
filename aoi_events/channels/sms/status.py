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
    BAD_ADDRESS = "bad_address"
    """Refused for good: the SMSC does not know the number."""
    REJECTED = "rejected"
    """Refused for good, for another reason."""
    UNANSWERED = "unanswered"
    """Submitted, without a response: the SMSC may have taken it."""
    BUSY = "busy"
    """Not sent: more messages wait for the SMSC than it takes in time."""
    NOT_SENT = "not_sent"
    """Not sent: the window was full, or the SMSC throttled us, for too long."""
    UNAVAILABLE = "unavailable"
    """Not sent: there is no link to the SMSC."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The result of one submission; ``detail`` is for people.

    ``message_ids``: the SMSC's ID of each message that it took, None where it named none.
    """

    status: SubmitStatus
    message_ids: tuple[str | None, ...] = ()
    detail: str = ""


SYSTEM_ERROR: Final = 0x08

_NAMES: Final = {
    0x01: "RINVMSGLEN",
    0x04: "RINVBNDSTS",
    0x08: "RSYSERR",
    0x0A: "RINVSRCADR",
    0x0B: "RINVDSTADR",
    0x14: "RMSGQFUL",
    0x45: "RSUBMITFAIL",
    0x50: "RINVDSTTON",
    0x51: "RINVDSTNPI",
    0x58: "RTHROTTLED",
    0x62: "RINVEXPIRY",
    0x64: "RX_T_APPN",
    0x65: "RX_P_APPN",
    0x66: "RX_R_APPN",
    0xFE: "RDELIVERYFAILURE",
    0xFF: "RUNKNOWNERR",
}
_TOO_FAST: Final = frozenset({0x14, 0x58})
_BAD_ADDRESS: Final = frozenset({0x0B, 0x50, 0x51})
_TEMPORARY: Final = frozenset({0x04, 0x05, SYSTEM_ERROR, 0x45, 0x64, 0xFE, 0xFF})
_FIRST_OF_VENDORS: Final = 0x400


def submitted_of(status: int, message_id: str | None) -> Submitted:
    """The result of a submission that the SMSC answered.

    A status that the standard does not define counts as temporary: retries are bounded by the
    delivery's expiry anyway, while a permanent failure could not be taken back.
    """
    if status == 0:
        if message_id:
            return Submitted(SubmitStatus.ACCEPTED, (message_id,))
        return Submitted(SubmitStatus.ACCEPTED, (None,), "the SMSC named no message ID")
    detail = f"SMSC status 0x{status:02X} {_NAMES.get(status, '')}".rstrip()
    if status in _TOO_FAST:
        return Submitted(SubmitStatus.THROTTLED, detail=detail)
    if status in _BAD_ADDRESS:
        return Submitted(SubmitStatus.BAD_ADDRESS, detail=detail)
    if status in _TEMPORARY or status >= _FIRST_OF_VENDORS:
        return Submitted(SubmitStatus.REFUSED, detail=detail)
    return Submitted(SubmitStatus.REJECTED, detail=detail)
