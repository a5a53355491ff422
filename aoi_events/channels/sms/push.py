"""One push as an SMSC gets it: one short message or several. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from aoi_events.channels.sms.numbers import Address
from aoi_events.channels.sms.status import Submitted, Verdict

__all__ = ["Push", "broken_off"]


@dataclass(frozen=True, slots=True)
class Push:
    """One push: to whom, the user data of its short messages, and when it is useless, by the clock
    of the event loop.
    """

    to: Address
    parts: tuple[bytes, ...]
    useless_at: float


def broken_off(submitted: Submitted, number: int, count: int) -> Submitted:
    """The verdict on a push whose part ``number`` was not accepted."""
    if count == 1:
        return submitted
    # With a part out already, it cannot be said that nothing was sent.
    late = {Verdict.NOT_SENT: Verdict.REFUSED, Verdict.UNAVAILABLE: Verdict.UNANSWERED}
    verdict = late.get(submitted.verdict, submitted.verdict) if number > 1 else submitted.verdict
    return Submitted(verdict, detail=f"part {number} of {count}: {submitted.detail}")
