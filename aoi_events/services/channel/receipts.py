"""Receipts: later reports of a provider about messages that it took, turned into outcomes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ConnectionlessChannel, Receipt
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import ProviderMessage, Store
from aoi_events.services.messages.envelopes import outcomes
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.pausing import PAUSES

log = get_logger(__name__)

_AT_MOST: Final = 10_000
_AGAIN_AFTER: Final = 0.5
_WAIT_AT_MOST: Final = 60.0
_KINDS: Final = frozenset(OutcomeKind)


@dataclass(slots=True)
class Receipts:
    """Publishes receipts as outcomes; a receipt that arrives before its submission is noted waits
    for it, a minute at most.
    """

    channel_type: str
    channel: ConnectionlessChannel
    store: Store
    broker: Broker
    clock: Clock
    waiting: OrderedDict[tuple[str, str], tuple[Receipt, datetime]] = field(
        default_factory=OrderedDict, init=False
    )
    """Every kind of receipt of a message; the merge of outcomes chooses among them."""

    async def run(self) -> None:
        """Run until the channel is closed."""
        again = asyncio.create_task(self._retry_waiting())
        try:
            async for receipts in self.channel.receipts():
                self._add(receipts)
                await self._settle()
        finally:
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)

    async def _retry_waiting(self) -> None:
        while True:
            await self.clock.sleep(_AGAIN_AFTER)
            if self.waiting:
                await self._settle()

    def _add(self, receipts: Sequence[Receipt]) -> None:
        now = self.clock.now()
        for receipt in receipts:
            if receipt.kind in _KINDS:
                self.waiting[receipt.provider_message, receipt.kind] = (receipt, now)
            else:
                log.error("receipt_of_unknown_kind", channel=self.channel_type, kind=receipt.kind)
        while len(self.waiting) > _AT_MOST:
            self.waiting.popitem(last=False)

    async def _settle(self) -> None:
        now = self.clock.now()
        taken = dict(self.waiting)
        try:
            async with self.store.transaction(read_only=True) as tx:
                known = await tx.provider_messages(
                    self.channel.provider, list(dict.fromkeys(message for message, _ in taken))
                )
            matched = [
                (receipt, known[message])
                for (message, _), (receipt, _) in taken.items()
                if message in known
            ]
            complete = await self._complete(matched)
            await publish_all(
                self.broker,
                outcomes(
                    _outcome(receipt, named, self.channel_type, now) for receipt, named in complete
                ),
            )
        except PAUSES as fault:
            log.warning("receipts_wait", channel=self.channel_type, error=str(fault))
            return
        for key, (receipt, since) in taken.items():
            late = (now - since).total_seconds() > _WAIT_AT_MOST
            if late and key[0] not in known:
                log.info("receipt_of_unknown_message", channel=self.channel_type)
            # The same may have come again meanwhile; it stays.
            newest = self.waiting.get(key, (None, now))[0]
            if (late or key[0] in known) and newest is receipt:
                del self.waiting[key]

    async def _complete(
        self, matched: Sequence[tuple[Receipt, ProviderMessage]]
    ) -> list[tuple[Receipt, ProviderMessage]]:
        """The receipts that hold for submissions as a whole: the device has one when it has every
        part, and one part that failed fails it.

        Parts may be receipted in different workers at once: each notes its own and then reads all,
        in another transaction, so that the last one sees the whole.
        """
        parts = [
            named
            for receipt, named in matched
            if named.parts > 1 and receipt.kind == OutcomeKind.RECEIPTED
        ]
        received: Mapping[tuple[str, int, int], int] = {}
        if parts:
            async with self.store.transaction() as tx:
                await tx.note_received(parts)
            async with self.store.transaction(read_only=True) as tx:
                received = await tx.parts_received({named.submission for named in parts})
        return [
            (receipt, named)
            for receipt, named in matched
            if receipt.kind != OutcomeKind.RECEIPTED
            or named.parts == 1
            or received.get(named.submission) == named.parts
        ]


def _outcome(
    receipt: Receipt, named: ProviderMessage, channel_type: str, now: datetime
) -> OutcomeItem:
    return OutcomeItem(
        delivery=named.delivery,
        kind=OutcomeKind(receipt.kind),
        at=now,
        client=named.client,
        channel=channel_type,
        step=named.step,
        attempt=named.attempt,
        detail=receipt.detail[:200] or None,
        closes_channel=receipt.closes_channel,
    )
