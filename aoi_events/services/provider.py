"""The worker of one connectionless channel: hands deliveries and challenges to its provider."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
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
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.channel import ConnectionlessChannel, Sent
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Store, Submission
from aoi_events.services.handler import Handler
from aoi_events.services.outgoing import outcomes
from aoi_events.services.steps import outcome_of, parked_steps

__all__ = ["ProviderHandler"]

log = structlog.get_logger(__name__)

_REMEMBERED: Final = 10_000

Work = DeliverItem | ChallengeItem
Key = tuple[str, int, int]


class ProviderHandler(Handler[DeliveryBatchV1]):
    """Takes ``aoi.delivery.<type>``; writes submissions and provider message IDs; publishes
    outcomes.

    A step is noted before it is submitted, and submitted once: should the process die in between,
    nobody says anything of it, and its deadline tries again under a new attempt.
    """

    def __init__(
        self, channel_type: str, channel: ConnectionlessChannel, store: Store, clock: Clock
    ) -> None:
        self.queue = delivery_queue(channel_type)
        self._type = channel_type
        self._channel = channel
        self._store = store
        self._clock = clock
        self._resume_at: datetime | None = None
        # What was submitted must not be submitted again when only its outcome could not be told.
        self._said: OrderedDict[Key, OutcomeItem] = OrderedDict()

    async def ready(self) -> None:
        """When the provider can take messages, and did not ask us to slow down."""
        if self._resume_at is not None:
            left = (self._resume_at - self._clock.now()).total_seconds()
            if left > 0:
                await self._clock.sleep(left)
            self._resume_at = None
        await self._channel.ready()

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
        return parked_steps(item.encode(), self._clock.now())

    async def handle(self, items: Sequence[DeliveryBatchV1]) -> Sequence[Outbound]:
        """Check, note, submit, report: in batches."""
        now = self._clock.now()
        work = [item for batch in items for item in batch.items if not isinstance(item, CloseItem)]
        wanted = await self._note(work, now)
        results = await self._submit(wanted) if wanted else []
        for item, sent in zip(wanted, results, strict=True):
            if sent.outcome is not None:
                self._said[_key(item)] = sent.outcome
        while len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        await self._name(wanted, results, now)
        self._slow_down(max((sent.pause for sent in results), default=0.0))
        keys = dict.fromkeys(_key(item) for item in work)
        return outcomes(self._said[key] for key in keys if key in self._said)

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
                        and row.client == item.client
                        and row.current(item.step, item.attempt)
                    )
                )
            ]
            new = await tx.add_submissions([self._submission(item, now) for item in wanted])
        return _first_of_each(wanted, new)

    async def _submit(self, wanted: Sequence[Work]) -> Sequence[Sent]:
        if len(wanted) == 1:
            return [await self._submit_alone(wanted[0])]
        try:
            return await self._channel.deliver(wanted)
        except InfrastructureError:
            raise
        except Exception:
            # One item that breaks the channel must not fail the others.
            log.exception("submission_failed", channel=self._type, items=len(wanted))
        return [await self._submit_alone(item) for item in wanted]

    async def _submit_alone(self, item: Work) -> Sent:
        try:
            (sent,) = await self._channel.deliver([item])
        except InfrastructureError:
            raise
        except Exception:
            # This step fails, and no other.
            log.exception("step_parked", channel=self._type, client=item.client)
            if isinstance(item, ChallengeItem):
                return Sent(None)
            detail = "the channel could not handle it"
            return Sent(outcome_of(item, OutcomeKind.PARKED, self._clock.now(), detail=detail))
        return sent

    async def _name(self, wanted: Sequence[Work], results: Sequence[Sent], now: datetime) -> None:
        """Note what the provider calls the messages, for its receipts."""
        named = [
            replace(self._submission(item, now), provider_message=sent.provider_message)
            for item, sent in zip(wanted, results, strict=True)
            if sent.provider_message is not None and isinstance(item, DeliverItem)
        ]
        if named:
            async with self._store.transaction() as tx:
                await tx.note_provider_messages(named)

    def _slow_down(self, seconds: float) -> None:
        if seconds > 0:
            log.warning("slowed_down", channel=self._type, seconds=seconds)
            self._resume_at = self._clock.now() + timedelta(seconds=seconds)

    def _submission(self, item: Work, now: datetime) -> Submission:
        delivery, step, attempt = _key(item)
        return Submission(
            delivery=delivery,
            step=step,
            attempt=attempt,
            channel=self._type,
            client=item.client,
            provider=self._channel.provider,
            at=now,
        )


def _key(item: Work) -> Key:
    if isinstance(item, DeliverItem):
        return item.delivery, item.step, item.attempt
    # The code names the round of the proof; its hash, not the code, goes into the store.
    digest = hashlib.sha256(f"{item.client}\0{item.channel}\0{item.code}".encode()).hexdigest()
    return f"chl_{digest[:26]}", 0, item.attempt


def _first_of_each(wanted: Sequence[Work], new: Collection[Key]) -> list[Work]:
    left = set(new)
    chosen: list[Work] = []
    for item in wanted:
        if (key := _key(item)) in left:
            left.remove(key)
            chosen.append(item)
    return chosen
