"""The cost of a delivery, from its ledger."""

from __future__ import annotations

from collections.abc import Collection

from aoi_events.domain.delivery.ledger import ChargeState
from aoi_events.domain.delivery.state import Delivery

Attempt = tuple[str, int, int]
"""Delivery ID, step and attempt: the key of a submission."""


def spent(delivery: Delivery, *, overtaken: Collection[Attempt] = ()) -> float:
    """The cost of all its messages, in the unit of all costs, as of when they were sent.

    A message that no provider took costs nothing, and neither do those of the ``overtaken``
    attempts. A message without any report counts, and so does one that was taken and never arrived.
    """
    ledger = delivery.ledger
    counted = (
        charge.counted
        for charge in ledger.charges
        if (delivery.id, charge.step, charge.attempt) not in overtaken
    )
    return sum(counted, ledger.final)


def doubtful(delivery: Delivery) -> set[Attempt]:
    """Attempts of an ended delivery that may never have been submitted: another channel delivered
    it first, and nothing was reported of them. The store knows which of them were submitted.
    """
    if not delivery.state.terminal:
        return set()
    return {
        (delivery.id, charge.step, charge.attempt)
        for charge in delivery.ledger.charges
        if charge.state is ChargeState.OPEN and charge.channel != delivery.channel
    }
