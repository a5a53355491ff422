"""The cost of the messages of one delivery: a sum, and the attempts that may still change it.

An attempt is charged when it starts. A provider that did not take the message makes it free; one
that took it bills it, whatever it reports later. When another attempt follows, the cost of the one
before it cannot change any more, so it moves into the sum.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aoi_events.contracts.envelopes import OutcomeKind

_MOST_CHARGES: Final = 16
_TAKEN: Final = frozenset({OutcomeKind.ACCEPTED, OutcomeKind.RECEIPTED})


class ChargeState(StrEnum):
    """The known state of an attempt's message."""

    OPEN = "open"
    """Nothing was reported, and its window has not ended."""
    UNANSWERED = "unanswered"
    """Nothing was reported until its window ended; it may have been sent."""
    TAKEN = "taken"
    """The provider took it."""
    FREE = "free"
    """The provider did not take it."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The cost of one attempt, in the unit of all costs, as of when it started."""

    step: int
    attempt: int
    channel: str
    cost: float
    state: ChargeState = ChargeState.OPEN

    @property
    def counted(self) -> float:
        """The amount that it adds to the delivery's cost."""
        return 0.0 if self.state is ChargeState.FREE else self.cost


@dataclass(frozen=True, slots=True)
class Ledger:
    """The costs of a delivery. ``final``: of attempts that cannot change any more. ``charges``: of
    the others.

    There are at most 16 charges. Beyond that the oldest counts in full from then on: the cost of a
    delivery may be overstated, never understated.
    """

    final: float = 0.0
    charges: tuple[Charge, ...] = ()

    def charged(self, charge: Charge, present: Collection[int]) -> Ledger:
        """The ledger with one more charge; ``present`` are the current attempts of the steps."""
        if not charge.cost:
            return self
        final, charges = self.final, []
        for known in self.charges:
            # Of an open one of an earlier plan it may be found out that it was never submitted.
            if known.attempt in present or known.state is ChargeState.OPEN:
                charges.append(known)
            else:
                final += known.counted
        while len(charges) >= _MOST_CHARGES:
            final += charges.pop(0).counted
        return Ledger(final, (*charges, charge))

    def reported(self, attempt: int, kind: OutcomeKind) -> Ledger:
        """The ledger after a provider or the broker reported ``kind`` of an attempt."""
        state = ChargeState.TAKEN if kind in _TAKEN else ChargeState.FREE
        return self._changed(attempt, state)

    def unanswered(self, attempt: int) -> Ledger:
        """The ledger after the window of an attempt ended."""
        return self._changed(attempt, ChargeState.UNANSWERED)

    def _changed(self, attempt: int, state: ChargeState) -> Ledger:
        if not any(known.attempt == attempt for known in self.charges):
            return self
        charges = (
            replace(known, state=state)
            if known.attempt == attempt and known.state is not ChargeState.TAKEN
            else known
            for known in self.charges
        )
        return replace(self, charges=tuple(charges))


EMPTY_LEDGER: Final = Ledger()
"""Nothing was sent that costs anything."""
