"""One push to an SMSC: one short message or several. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aoi_events.channels.sms.numbers import SmppAddress
from aoi_events.channels.sms.status import MISCONFIGURED_FOR, SubmitStatus, Submitted


@dataclass(frozen=True, slots=True)
class Push:
    """One push: its destination, the user data of its short messages, and when it expires.

    ``expires_at`` is a time of the event loop's clock; ``valid_until`` the same, or the end of the
    longest validity period that an SMSC is asked for. ``proved``: its number got a challenge once.
    """

    to: SmppAddress
    parts: tuple[bytes, ...]
    expires_at: float
    valid_until: datetime
    proved: bool = True


def part_failed(submitted: Submitted, number: int, count: int) -> Submitted:
    """The result of a push whose part ``number`` was not accepted."""
    if count == 1:
        return submitted
    # Once one part was accepted, something was sent.
    partly_sent = {
        SubmitStatus.NOT_SENT: SubmitStatus.REFUSED,
        SubmitStatus.UNAVAILABLE: SubmitStatus.UNANSWERED,
        SubmitStatus.MISCONFIGURED: SubmitStatus.REFUSED,
    }
    status = submitted.status
    # Each attempt pays the parts before it again, until the operator has changed something.
    retry_after = MISCONFIGURED_FOR if status is SubmitStatus.MISCONFIGURED else 0.0
    if number > 1:
        status = partly_sent.get(status, status)
    detail = f"part {number} of {count}: {submitted.detail}"
    return Submitted(status, detail=detail, retry_after=retry_after)
