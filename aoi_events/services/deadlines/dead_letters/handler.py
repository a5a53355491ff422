"""Messages that no worker handles: unknown requests, and dead letters. All of them are parked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from aoi_events.contracts.requests import REQUESTS
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.services.messages.answers import internal_error
from aoi_events.services.messages.parked_steps import parked_steps
from aoi_events.services.messages.quarantine import as_sent, unwrap
from aoi_events.services.messages.requests import may_answer
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import Parked, Parking
from aoi_events.topology import DEAD, UNROUTABLE, delivery_queue, quarantine_of

_FIRST_DEATH: Final = "x-first-death-queue"
_QUARANTINE: Final = quarantine_of("")
_ANY_CHANNEL: Final = delivery_queue("")


class UnroutableHandler(Handler[NoReturn]):
    """Consumes ``aoi.unroutable``: requests whose routing key has no binding. All of them are
    refused, so that they are answered and parked.
    """

    queue = UNROUTABLE

    def read(self, message: Inbound) -> NoReturn:
        """Raises Refusal (unknown_request)."""
        raise Refusal(
            ErrorCode.UNKNOWN_REQUEST,
            f"no request is named {message.routing_key[:80]!r}; there are: "
            + ", ".join(sorted(REQUESTS)),
        )

    async def handle(self, items: Sequence[NoReturn]) -> Sequence[Outbound]:
        """Nothing is left to handle."""
        return ()


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
        return DeadLetter(as_sent(message), queue)

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
