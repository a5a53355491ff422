"""Receipts: later reports of a provider about messages that it took, turned into outcomes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind, is_challenge
from aoi_events.domain.providers.message_ids import of_challenges
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ConnectionlessChannel, Receipt, Spelled
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import ProviderMessage, Store
from aoi_events.services.channel.matching import Found, Match, by_folded_name, counts, match
from aoi_events.services.channel.spelling import SpellingsFound
from aoi_events.services.messages.envelopes import outcomes
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.pausing import PAUSES

log = get_logger(__name__)

_AT_MOST: Final = 10_000
_AGAIN_AFTER: Final = 0.5
_WAIT_AT_MOST: Final = 60.0
_KINDS: Final = frozenset(OutcomeKind)

_Key = tuple[str, str, tuple[str, ...], bool]


@dataclass(eq=False)
class Receipts:
    """Publishes receipts as outcomes; a receipt that arrives before its submission is noted waits
    for it, a minute at most.
    """

    channel_type: str
    channel: ConnectionlessChannel
    store: Store
    broker: Broker
    clock: Clock
    metrics: WorkerMetrics = NO_METRICS
    waiting: OrderedDict[_Key, tuple[Receipt, datetime]] = field(
        default_factory=OrderedDict, init=False
    )
    """Every kind of receipt of a message, and of each message that one ID may mean; the merge of
    outcomes chooses among the kinds."""

    def __post_init__(self) -> None:
        self._spellings = SpellingsFound(self.channel_type, self.metrics)

    async def run(self) -> None:
        """Run until the channel is closed."""
        async with asyncio.TaskGroup() as group:  # a fault in either ends both, and is raised
            again = group.create_task(self._retry_waiting())
            async for receipts in self.channel.receipts():
                self._add(receipts)
                await self._settle()
            again.cancel()

    async def _retry_waiting(self) -> None:
        while True:
            await self.clock.sleep(_AGAIN_AFTER)
            if self.waiting:
                await self._settle()

    def _add(self, receipts: Sequence[Receipt]) -> None:
        now = self.clock.now()
        for receipt in receipts:
            if receipt.kind in _KINDS:
                self.waiting[_key(receipt)] = (receipt, now)
            else:
                log.error("receipt_of_unknown_kind", channel=self.channel_type, kind=receipt.kind)
        while len(self.waiting) > _AT_MOST:
            self.waiting.popitem(last=False)

    async def _settle(self) -> None:
        now = self.clock.now()
        taken = dict(self.waiting)
        try:
            matches = await self._match(taken.values(), now)
            matched = [
                (receipt, one.message)
                for (receipt, _), one in zip(taken.values(), matches, strict=True)
                # Only its code proves that a challenge was read.
                if one is not None and not is_challenge(one.message.delivery)
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
        for (key, (receipt, since)), one in zip(taken.items(), matches, strict=True):
            late = (now - since).total_seconds() > _WAIT_AT_MOST
            # The same may have come again meanwhile; it stays.
            if self.waiting.get(key, (None, now))[0] is not receipt or not (one or late):
                continue
            del self.waiting[key]
            if one is not None:
                self._spellings.matched(receipt, one)
            else:
                log.info("receipt_of_unknown_message", channel=self.channel_type)
                self._spellings.missed(receipt)

    async def _match(
        self, receipts: Collection[tuple[Receipt, datetime]], now: datetime
    ) -> list[Match | None]:
        """The message of each receipt, as far as it is known by now."""
        names = {receipt.provider_message for receipt, _ in receipts}
        deliveries = self.channel.provider
        challenges = of_challenges(deliveries)
        async with self.store.transaction(read_only=True) as tx:
            exact = dict(await tx.provider_messages(challenges, names))
            for name, message in (await tx.provider_messages(deliveries, names)).items():
                if name not in exact or exact[name].at <= message.at:  # the newest has the name
                    exact[name] = message
            found = Found(exact)
            counting = [self._counting(receipt, now - since, found) for receipt, since in receipts]
            if spelled := {each.folded for spellings in counting for each in spellings}:
                messages = [
                    *await tx.spelled(deliveries, spelled),
                    *await tx.spelled(challenges, spelled),
                ]
                rows = await tx.deliveries({message.delivery for message in messages})
                settled = {id_ for id_, row in rows.items() if row.state.terminal}
                found = Found(found.exact, by_folded_name(messages), settled)
        return [
            match(receipt, spellings, found, self._spellings.usual(receipt))
            for (receipt, _), spellings in zip(receipts, counting, strict=True)
        ]

    def _counting(self, receipt: Receipt, waited: timedelta, found: Found) -> Sequence[Spelled]:
        """The spellings of a receipt that count: unless its provider is known for one, its exact ID
        may be noted in a moment.
        """
        if self._spellings.usual(receipt) is not None:
            return receipt.spellings
        exact = found.exact.get(receipt.provider_message)
        if exact is not None and counts(receipt, exact, None):
            return ()
        return receipt.spellings if waited.total_seconds() >= _AGAIN_AFTER else ()

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


def _key(receipt: Receipt) -> _Key:
    return receipt.provider_message, receipt.kind, receipt.addresses, receipt.sure


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
