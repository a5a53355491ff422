"""The worker of one connectionless channel: hands deliveries and challenges to its provider."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from aoi_events.broker.topology import delivery_queue
from aoi_events.contracts.envelopes import (
    ChallengeItem,
    CloseItem,
    DeliverItem,
    DeliveryBatchV1,
    OutcomeKind,
)
from aoi_events.domain.channels import Channel, ChannelState
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.channel import ConnectionlessChannel, Sent
from aoi_events.ports.clock import Clock
from aoi_events.ports.logs import get_logger
from aoi_events.ports.metrics import NO_METRICS, WorkerMetrics
from aoi_events.ports.store import ProviderMessage, Store, Submission, Transaction
from aoi_events.services.handler import Handler
from aoi_events.services.outgoing import outcomes
from aoi_events.services.resting import PAUSES
from aoi_events.services.steps import parked_steps

__all__ = ["ProviderHandler"]

log = get_logger(__name__)

_REMEMBERED: Final = 10_000
_GIVEN_UP: Final = "the client gave the address up"

Work = DeliverItem | ChallengeItem
Key = tuple[str, int, int]


class ProviderHandler(Handler[DeliveryBatchV1]):
    """Takes ``aoi.delivery.<type>``; writes submissions and provider message IDs; publishes
    outcomes.

    A step is noted before it is submitted, and submitted once: should the process die in between,
    nobody says anything of it, and its deadline tries again under a new attempt.
    """

    def __init__(
        self,
        channel_type: str,
        channel: ConnectionlessChannel,
        store: Store,
        clock: Clock,
        metrics: WorkerMetrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self.queue = delivery_queue(channel_type)
        self._type = channel_type
        self._channel = channel
        self._store = store
        self._clock = clock
        self._resume_at: datetime | None = None
        # What was submitted must not be submitted again when only its outcome could not be told,
        # or the name that the provider's receipts will give it could not be noted.
        self._said: OrderedDict[Key, Sent] = OrderedDict()

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
        self._metrics.submitted(self._type, results)
        self._said.update((_key(item), sent) for item, sent in zip(wanted, results, strict=True))
        self._slow_down(max((sent.pause for sent in results), default=0.0))
        asked = {_key(item): item for item in work}
        said = {key: self._said[key] for key in asked if key in self._said}
        while len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        await self._name([(asked[key], sent) for key, sent in said.items()], now)
        return outcomes(sent.outcome for sent in said.values() if sent.outcome is not None)

    async def _note(self, work: Sequence[Work], now: datetime) -> list[Work]:
        """What is still wanted and was not submitted before; noted before it is submitted.

        An address that the client gave up while its message waited here may be anybody's by now:
        nothing goes there, and the step has lost its way.
        """
        fresh = [item for item in work if now < item.expires_at]
        deliver = [item for item in fresh if isinstance(item, DeliverItem)]
        async with self._store.transaction() as tx:
            rows = await tx.deliveries({item.delivery for item in deliver})
            ids = {item.client for item in fresh}
            clients = await tx.clients(ids)
            channels = await self._channels_of(tx, ids)
            wanted = [
                item
                for item in fresh
                if (client := clients.get(item.client)) is not None
                and not client.retired
                and (
                    _claimed(item, channels.get(item.client))
                    if isinstance(item, ChallengeItem)
                    else (
                        (row := rows.get(item.delivery)) is not None
                        and row.client == item.client
                        and row.current(item.step, item.attempt)
                    )
                )
            ]
            new = await tx.add_submissions([self._submission(item, now) for item in wanted])
        chosen: list[Work] = []
        for item in _first_of_each(wanted, new):
            if isinstance(item, ChallengeItem) or _received(item, channels.get(item.client)):
                chosen.append(item)
            else:
                lost = item.outcome(OutcomeKind.ROUTE_LOST, now, detail=_GIVEN_UP)
                self._said[_key(item)] = Sent(lost)
        return chosen

    async def _channels_of(self, tx: Transaction, clients: Collection[str]) -> dict[str, Channel]:
        return {
            client: row
            for client, rows in (await tx.channels(clients)).items()
            for row in rows
            if row.type == self._type
        }

    async def _submit(self, wanted: Sequence[Work]) -> Sequence[Sent]:
        if len(wanted) == 1:
            return [await self._submit_alone(wanted[0])]
        try:
            return await self._channel.deliver(wanted)
        except PAUSES:
            raise
        except Exception:
            # One item that breaks the channel must not fail the others.
            log.exception("submission_failed", channel=self._type, items=len(wanted))
        return [await self._submit_alone(item) for item in wanted]

    async def _submit_alone(self, item: Work) -> Sent:
        try:
            (sent,) = await self._channel.deliver([item])
        except PAUSES:
            raise
        except Exception:
            # This step fails, and no other.
            log.exception("step_parked", channel=self._type, client=item.client)
            if isinstance(item, ChallengeItem):
                return Sent(None)
            detail = "the channel could not handle it"
            return Sent(item.outcome(OutcomeKind.PARKED, self._clock.now(), detail=detail))
        return sent

    async def _name(self, said: Sequence[tuple[Work, Sent]], now: datetime) -> None:
        """Note what the provider calls the messages, for its receipts."""
        named = [
            ProviderMessage(
                delivery=item.delivery,
                step=item.step,
                attempt=item.attempt,
                part=part,
                parts=len(sent.provider_messages),
                provider=self._channel.provider,
                message=message,
                client=item.client,
                at=now,
            )
            for item, sent in said
            if isinstance(item, DeliverItem)
            for part, message in enumerate(sent.provider_messages, 1)
            if message is not None
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
    return item.id, 0, item.attempt


def _claimed(item: Work, channel: Channel | None) -> bool:
    """Whether the client still offers the address of the item."""
    return (
        channel is not None
        and channel.state is not ChannelState.CLOSED
        and channel.parameters == item.parameters
    )


def _received(item: DeliverItem, channel: Channel | None) -> bool:
    """Whether the client is still known to receive there."""
    return channel is not None and channel.usable and channel.parameters == item.parameters


def _first_of_each(wanted: Sequence[Work], new: Collection[Key]) -> list[Work]:
    left = set(new)
    chosen: list[Work] = []
    for item in wanted:
        if (key := _key(item)) in left:
            left.remove(key)
            chosen.append(item)
    return chosen
