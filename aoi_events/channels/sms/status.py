"""What an SMSC's ``command_status`` means for a message (SMPP 3.4, 5.1.3). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["SYSTEM_ERROR", "Submitted", "Verdict", "verdict_of"]


class Verdict(StrEnum):
    """What became of a submission."""

    ACCEPTED = "accepted"
    """The SMSC has it, under ``message_ids``."""
    THROTTLED = "throttled"
    """Not taken, because we are too fast or the SMSC's queue is full."""
    REFUSED = "refused"
    """Not taken now; later it may be."""
    BAD_ADDRESS = "bad_address"
    """Never: the SMSC does not know the number."""
    REJECTED = "rejected"
    """Never: something else about the message."""
    UNANSWERED = "unanswered"
    """Submitted, and nobody said what became of it: it may go out."""
    BUSY = "busy"
    """Never left us: more wait for the SMSC already than it takes in time."""
    NOT_SENT = "not_sent"
    """Never left us: no room in the window, or a throttled SMSC, for too long."""
    UNAVAILABLE = "unavailable"
    """Never left us: there is no link to the SMSC."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one submission; ``detail`` is for people.

    ``message_ids``: what the SMSC calls each message that it took, None where it named none.
    """

    verdict: Verdict
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
_PASSING: Final = frozenset({0x04, 0x05, SYSTEM_ERROR, 0x45, 0x64, 0xFE, 0xFF})
_FIRST_OF_VENDORS: Final = 0x400


def verdict_of(status: int, message_id: str | None) -> Submitted:
    """The verdict on a submission that the SMSC answered.

    What the standard does not define is taken as passing: the schedule of retries is bounded by
    the delivery's expiry anyway, while a verdict of *never* could not be taken back.
    """
    if status == 0:
        if message_id:
            return Submitted(Verdict.ACCEPTED, (message_id,))
        return Submitted(Verdict.ACCEPTED, (None,), "the SMSC named no message ID")
    detail = f"SMSC status 0x{status:02X} {_NAMES.get(status, '')}".rstrip()
    if status in _TOO_FAST:
        return Submitted(Verdict.THROTTLED, detail=detail)
    if status in _BAD_ADDRESS:
        return Submitted(Verdict.BAD_ADDRESS, detail=detail)
    if status in _PASSING or status >= _FIRST_OF_VENDORS:
        return Submitted(Verdict.REFUSED, detail=detail)
    return Submitted(Verdict.REJECTED, detail=detail)
