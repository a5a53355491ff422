"""Receipts: later reports of a provider about messages that it took, turned into outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind, is_challenge
from aoi_events.domain.providers.message_ids import of_challenges
from aoi_events.platform.logs import SeldomLog, get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ConnectionlessChannel, Receipt, Spelled
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import ProviderMessage, Store
from aoi_events.services.channel.matching import Found, Match, by_folded_name, in_doubt, match
from aoi_events.services.channel.spelling import SpellingsFound
from aoi_events.services.channel.waiting import Waiting, WaitingReceipts
from aoi_events.services.messages.envelopes import outcomes
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.pausing import PAUSES

log = get_logger(__name__)

_LOOK_EVERY: Final = 0.5
_KINDS: Final = frozenset(OutcomeKind)


@dataclass(eq=False)
class Receipts:
    """Publishes receipts as outcomes, and acknowledges them; a receipt that arrives before its
    submission is noted waits for it, a minute at most.
    """

    channel_type: str
    channel: ConnectionlessChannel
    store: Store
    broker: Broker
    clock: Clock
    metrics: WorkerMetrics = NO_METRICS

    def __post_init__(self) -> None:
        self._spellings = SpellingsFound(self.channel_type, self.metrics)
        self._waiting = WaitingReceipts()
        self._settling = asyncio.Lock()
        self._seldom = SeldomLog(log)

    async def run(self) -> None:
        """Run until the channel is closed."""
        async with asyncio.TaskGroup() as group:  # a fault in either ends both, and is raised
            again = group.create_task(self._retry_waiting())
            async for receipts in self.channel.receipts():
                async with self._settling:
                    self._add(receipts)
                    await self._settle()
                while self._waiting.full:
                    await self.clock.sleep(_LOOK_EVERY)
            again.cancel()

    async def _retry_waiting(self) -> None:
        while True:
            await self.clock.sleep(_LOOK_EVERY)
            async with self._settling:
                await self._settle()

    def _add(self, receipts: Sequence[Receipt]) -> None:
        now = self.clock.now()
        for receipt in receipts:
            if receipt.kind in _KINDS:
                self._waiting.add(receipt, now)
            else:
                log.error("receipt_of_unknown_kind", channel=self.channel_type, kind=receipt.kind)
                receipt.acknowledge()
        if surplus := self._waiting.remove_surplus():
            log.warning("receipts_dropped", channel=self.channel_type, receipts=len(surplus))
            for receipt in surplus:
                self._spellings.missed(receipt, now, dropped=True)

    async def _settle(self) -> None:
        """Publish and acknowledge what is due; for one task at a time."""
        now = self.clock.now()
        due = self._waiting.due(now)
        try:
            matches = await self._publish(due, now)
        except PAUSES as fault:
            self._seldom.warning("receipts_wait", channel=self.channel_type, error=str(fault))
            for each in due:
                each.look_up_failed(now)
            return
        for each, one in zip(due, matches, strict=True):
            if one is None and each.still_unknown(now):
                continue
            self._waiting.remove(each)
            if one is not None:
                self._spellings.matched(each.receipt, one)
            else:
                log.info("receipt_of_unknown_message", channel=self.channel_type)
                self._spellings.missed(each.receipt, now)

    async def _publish(self, due: Sequence[Waiting], now: datetime) -> Sequence[Match | None]:
        """Publish the outcomes of receipts whose message is known; returns each match."""
        if not due:
            return ()
        matches = await self._match(due, now)
        matched = [
            (each.receipt, one.message)
            for each, one in zip(due, matches, strict=True)
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
        return matches

    async def _match(self, due: Sequence[Waiting], now: datetime) -> list[Match | None]:
        """The message of each receipt, as far as it is known by now."""
        names = {each.receipt.provider_message for each in due}
        deliveries = self.channel.provider
        challenges = of_challenges(deliveries)
        async with self.store.transaction(read_only=True) as tx:
            exact = dict(await tx.provider_messages(challenges, names))
            for name, message in (await tx.provider_messages(deliveries, names)).items():
                if name not in exact or exact[name].at <= message.at:  # the newest has the name
                    exact[name] = message
            found = Found(exact)
            counting = (self._counting(each, now, found) for each in due)
            if spelled := {each.folded for spellings in counting for each in spellings}:
                messages = [
                    *await tx.spelled(deliveries, spelled),
                    *await tx.spelled(challenges, spelled),
                ]
                rows = await tx.deliveries({message.delivery for message in messages})
                settled = {id_ for id_, row in rows.items() if row.state.terminal}
                found = Found(found.exact, by_folded_name(messages), settled)
        return [
            match(
                each.receipt,
                found,
                self._spellings.usual(each.receipt),
                waited=each.waited(now),
            )
            for each in due
        ]

    def _counting(self, waiting: Waiting, now: datetime, found: Found) -> Sequence[Spelled]:
        """The spellings of a receipt under which its message is looked for: until it waited, only
        the one that its provider is known for.
        """
        receipt, usual = waiting.receipt, self._spellings.usual(waiting.receipt)
        exact = found.exact.get(receipt.provider_message)
        if usual is None and exact is not None and not in_doubt(receipt, exact, usual):
            return ()
        if waiting.waited(now):
            return receipt.spellings
        return [each for each in receipt.spellings if each.how == usual]

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
