"""Messages that no worker handles: unknown requests, and dead letters. All of them are parked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from aoi_events.contracts.requests import REQUESTS
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.services.messages.answers import internal_error, refusal
from aoi_events.services.messages.parked_steps import parked_steps
from aoi_events.services.messages.quarantine import unwrap
from aoi_events.services.messages.requests import may_answer
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import Parked, Parking
from aoi_events.topology import DEAD, UNROUTABLE, delivery_queue, quarantine_of

_FIRST_DEATH: Final = "x-first-death-queue"
_QUARANTINE: Final = quarantine_of("")
_ANY_CHANNEL: Final = delivery_queue("")


class UnroutableHandler(Handler[Inbound]):
    """Consumes ``aoi.unroutable``: requests whose routing key has no binding; parks and answers
    them.
    """

    queue = UNROUTABLE

    def __init__(self, parking: Parking) -> None:
        self._parking = parking

    def read(self, message: Inbound) -> Inbound:
        """The message itself: any content is accepted here."""
        return message

    async def handle(self, items: Sequence[Inbound]) -> Sequence[Outbound]:
        """Refuse all of them (unknown_request)."""
        refused = [(message, _unknown(message)) for message in items]
        await self._parking.park(
            self.queue, [Parked(message, why.code, why.message) for message, why in refused]
        )
        return [
            output
            for message, why in refused
            if may_answer(message)
            for output in refusal(message, why)
        ]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message as it was before it died, and the worker queue in which it died."""

    message: Inbound
    queue: str


class DeadLetterHandler(Handler[DeadLetter]):
    """Consumes ``aoi.dead``: messages that ended several processes, or were requeued too often.

    They are parked under the queue in which they died, so that they can be replayed into it; the
    requester gets an answer, and the steps of a parked envelope fail.
    """

    queue = DEAD

    def __init__(self, parking: Parking, clock: Clock, *, believed: Collection[str]) -> None:
        """``believed``: broker users that may name the first sender of a quarantined message."""
        self._parking = parking
        self._clock = clock
        self._believed = believed

    def read(self, message: Inbound) -> DeadLetter:
        """The message as it was sent. Raises Refusal for one that another user wrote into a
        quarantine.
        """
        died_in = message.headers.get(_FIRST_DEATH)
        queue = died_in if isinstance(died_in, str) else DEAD
        if queue.endswith(_QUARANTINE):
            return DeadLetter(unwrap(message, self._believed), queue.removesuffix(_QUARANTINE))
        return DeadLetter(message, queue)

    async def handle(self, items: Sequence[DeadLetter]) -> Sequence[Outbound]:
        """Park, answer, and fail the steps of envelopes."""
        outputs: list[Outbound] = []
        for letter in items:
            await self._parking.park(letter.queue, [Parked(letter.message, *_WHY)])
            if letter.queue.startswith(_ANY_CHANNEL):
                outputs += parked_steps(letter.message.body, self._clock.now())
            elif may_answer(letter.message):
                outputs += internal_error(letter.message)
        return outputs


_WHY: Final = (ErrorCode.INTERNAL, "delivered too often without success")


def _unknown(message: Inbound) -> Refusal:
    return Refusal(
        ErrorCode.UNKNOWN_REQUEST,
        f"no request is named {message.routing_key[:80]!r}; there are: "
        + ", ".join(sorted(REQUESTS)),
    )
