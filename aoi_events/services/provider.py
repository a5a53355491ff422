"""The worker of one connectionless channel: hands deliveries and challenges to its provider."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog
from pydantic import ValidationError

from aoi_events.broker.topology import delivery_queue
from aoi_events.contracts.envelopes import (
    ChallengeItem,
    CloseItem,
    DeliverItem,
    DeliveryBatchV1,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.errors import ErrorCode, InfrastructureError, Refusal
from aoi_events.ports.broker import Broker, Inbound, Outbound
from aoi_events.ports.channel import ConnectionlessChannel, Receipt
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Store, Submission
from aoi_events.services.outgoing import outcomes
from aoi_events.services.runtime import publish_all

__all__ = ["ProviderHandler", "Receipts"]

log = structlog.get_logger(__name__)

_UNKNOWN: Final = 10_000
_PATIENCE: Final = 60.0

Work = DeliverItem | ChallengeItem


class ProviderHandler:
    """Takes ``aoi.delivery.<type>``; writes submissions and provider message IDs; publishes
    outcomes.
    """

    def __init__(
        self, channel_type: str, channel: ConnectionlessChannel, store: Store, clock: Clock
    ) -> None:
        self.queue = delivery_queue(channel_type)
        self._type = channel_type
        self._channel = channel
        self._store = store
        self._clock = clock

    def read(self, message: Inbound) -> DeliveryBatchV1:
        """The envelope in the message. Raises Refusal (malformed)."""
        try:
            return DeliveryBatchV1.decode(message.body)
        except ValidationError as error:
            raise Refusal(
                ErrorCode.MALFORMED, f"no envelope of deliveries ({error.error_count()} faults)"
            ) from None

    def abandoned(self, item: DeliveryBatchV1) -> Sequence[Outbound]:
        """A parked step fails that step only."""
        now = self._clock.now()
        return outcomes(
            _outcome(work, OutcomeKind.PARKED, now)
            for work in item.items
            if isinstance(work, DeliverItem)
        )

    async def handle(self, items: Sequence[DeliveryBatchV1]) -> Sequence[Outbound]:
        """Check, note, submit, report: in batches."""
        await self._channel.ready()
        now = self._clock.now()
        work = [item for batch in items for item in batch.items if not isinstance(item, CloseItem)]
        wanted = await self._note(work, now)
        if not wanted:
            return []
        results = await self._channel.deliver(wanted)
        named = [
            replace(self._submission(item, now), provider_message=sent.provider_message)
            for item, sent in zip(wanted, results, strict=True)
            if sent.provider_message is not None and isinstance(item, DeliverItem)
        ]
        if named:
            async with self._store.transaction() as tx:
                await tx.note_provider_messages(named)
        pause = max((sent.pause for sent in results), default=0.0)
        if pause > 0:
            log.warning("slowed_down", channel=self._type, seconds=pause)
            await self._clock.sleep(pause)
        return outcomes(sent.outcome for sent in results if sent.outcome is not None)

    async def _note(self, work: Sequence[Work], now: datetime) -> list[Work]:
        """What is still wanted and was not submitted before; noted before it is submitted."""
        fresh = [item for item in work if now < item.expires_at]
        deliver = [item for item in fresh if isinstance(item, DeliverItem)]
        async with self._store.transaction() as tx:
            rows = await tx.deliveries({item.delivery for item in deliver})
            clients = await tx.clients({item.client for item in fresh})
            wanted = [
                item
                for item in fresh
                if (client := clients.get(item.client)) is not None
                and not client.retired
                and (
                    isinstance(item, ChallengeItem)
                    or (
                        (row := rows.get(item.delivery)) is not None
                        and row.current(item.step, item.attempt)
                    )
                )
            ]
            new = await tx.add_submissions([self._submission(item, now) for item in wanted])
        return _first_of_each(wanted, new)

    def _submission(self, item: Work, now: datetime) -> Submission:
        return Submission(
            delivery=_key(item)[0],
            step=_key(item)[1],
            attempt=item.attempt,
            channel=self._type,
            client=item.client,
            provider=self._channel.provider,
            at=now,
        )


class Receipts:
    """Turns a provider's receipts into outcomes; those that overtook their submission wait."""

    def __init__(
        self,
        channel_type: str,
        channel: ConnectionlessChannel,
        store: Store,
        broker: Broker,
        clock: Clock,
    ) -> None:
        self._type = channel_type
        self._channel = channel
        self._store = store
        self._broker = broker
        self._clock = clock
        self._early: OrderedDict[str, tuple[Receipt, datetime]] = OrderedDict()

    async def run(self) -> None:
        """Until the channel is closed."""
        retry = asyncio.create_task(self._retry())
        try:
            async for receipts in self._channel.receipts():
                await self._settle(receipts)
        finally:
            retry.cancel()
            await asyncio.gather(retry, return_exceptions=True)

    async def _retry(self) -> None:
        while True:
            await self._clock.sleep(0.5)
            if self._early:
                await self._settle([])

    async def _settle(self, receipts: Sequence[Receipt]) -> None:
        now = self._clock.now()
        for receipt in receipts:
            self._early[receipt.provider_message] = (receipt, now)
        while len(self._early) > _UNKNOWN:
            self._early.popitem(last=False)
        try:
            async with self._store.transaction(read_only=True) as tx:
                known = await tx.submissions_of(self._channel.provider, list(self._early))
            await publish_all(
                self._broker,
                outcomes(
                    _receipted(self._early[message][0], submission, self._type, now)
                    for message, submission in known.items()
                    if submission.delivery.startswith("dlv_")
                ),
            )
        except InfrastructureError as fault:
            log.warning("receipts_wait", channel=self._type, error=str(fault))
            return
        for message in known:
            self._early.pop(message, None)
        for message, (_, since) in list(self._early.items()):
            if (now - since).total_seconds() > _PATIENCE:
                log.info("receipt_of_unknown_message", channel=self._type)
                self._early.pop(message, None)


def _key(item: Work) -> tuple[str, int]:
    if isinstance(item, DeliverItem):
        return item.delivery, item.step
    # The code names the round of the proof; its hash, not the code, goes into the store.
    digest = hashlib.sha256(f"{item.client}\0{item.channel}\0{item.code}".encode()).hexdigest()
    return f"chl_{digest[:26]}", 0


def _first_of_each(wanted: Sequence[Work], new: Collection[tuple[str, int, int]]) -> list[Work]:
    left = set(new)
    chosen: list[Work] = []
    for item in wanted:
        key = (*_key(item), item.attempt)
        if key in left:
            left.remove(key)
            chosen.append(item)
    return chosen


def _outcome(item: DeliverItem, kind: OutcomeKind, now: datetime) -> OutcomeItem:
    return OutcomeItem(
        delivery=item.delivery,
        kind=kind,
        at=now,
        client=item.client,
        channel=item.channel,
        step=item.step,
        attempt=item.attempt,
    )


def _receipted(
    receipt: Receipt, submission: Submission, channel_type: str, now: datetime
) -> OutcomeItem:
    return OutcomeItem(
        delivery=submission.delivery,
        kind=OutcomeKind(receipt.kind),
        at=now,
        client=submission.client,
        channel=channel_type,
        step=submission.step,
        attempt=submission.attempt,
        detail=receipt.detail or None,
        closes_channel=receipt.closes_channel,
    )
