"""The handler of one connectionless channel: submits deliveries and challenges to its provider."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from aoi_events.contracts.envelopes import (
    ChallengeItem,
    CloseItem,
    DeliverItem,
    DeliveryBatchV1,
    OutcomeKind,
)
from aoi_events.domain.clients.channels import Channel, ChannelState
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.channel import SubmitResult
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Store, Submission, Transaction
from aoi_events.services.channel.submissions import Key, Submissions, Work, key_of
from aoi_events.services.messages.envelopes import read_envelope
from aoi_events.services.messages.parked_steps import parked_steps
from aoi_events.services.runtime.handler import Handler
from aoi_events.topology import delivery_queue

_ADDRESS_GONE: Final = "the client gave the address up"


class ProviderHandler(Handler[DeliveryBatchV1]):
    """Consumes ``aoi.delivery.<type>``; writes submissions; publishes through
    :class:`aoi_events.services.channel.submissions.Submissions` only.

    It is ready whatever the state of the providers is: for one that is down the channel answers at
    once.
    """

    def __init__(
        self,
        channel_type: str,
        submissions: Submissions,
        store: Store,
        clock: Clock,
    ) -> None:
        self.queue = delivery_queue(channel_type)
        self._type = channel_type
        self._submissions = submissions
        self._store = store
        self._clock = clock

    def read(self, message: Inbound) -> DeliveryBatchV1:
        """The envelope in the message. Raises Refusal (malformed)."""
        return read_envelope(DeliveryBatchV1, message)

    def abandoned(self, item: DeliveryBatchV1) -> Sequence[Outbound]:
        """The outcomes of a parked item: its steps fail, and no others."""
        return parked_steps(item.encode(), self._clock.now())

    async def handle(self, items: Sequence[DeliveryBatchV1]) -> Sequence[Outbound]:
        """Submit the items that are still wanted when the channel has room for them."""
        work = [item for batch in items for item in batch.items if not isinstance(item, CloseItem)]
        await self._submissions.submit_all(work, self._check)
        return []

    async def _check(
        self, work: Sequence[Work], now: datetime
    ) -> tuple[list[Work], list[tuple[Work, SubmitResult]]]:
        """The items that are still wanted and were not submitted before; noted before they are
        submitted.

        An address that the client gave up while its message waited here may belong to another
        person by now: nothing is sent there, and the step's outcome is *route lost*.
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
            new = await tx.add_submissions([Submission(*key_of(item), now) for item in wanted])
        chosen: list[Work] = []
        gone: list[tuple[Work, SubmitResult]] = []
        for item in _first_of_each(wanted, new):
            if isinstance(item, ChallengeItem) or _received(item, channels.get(item.client)):
                chosen.append(item)
            else:
                lost = item.outcome(OutcomeKind.ROUTE_LOST, now, detail=_ADDRESS_GONE)
                gone.append((item, SubmitResult(lost)))
        return chosen, gone

    async def _channels_of(self, tx: Transaction, clients: Collection[str]) -> dict[str, Channel]:
        return {
            client: row
            for client, rows in (await tx.channels(clients)).items()
            for row in rows
            if row.type == self._type
        }


def _claimed(item: Work, channel: Channel | None) -> bool:
    """Whether the client still offers the address of the item."""
    return (
        channel is not None
        and channel.state is not ChannelState.CLOSED
        and channel.parameters == item.parameters
    )


def _received(item: DeliverItem, channel: Channel | None) -> bool:
    """Whether the client still has an active channel at the address of the item."""
    return channel is not None and channel.usable and channel.parameters == item.parameters


def _first_of_each(wanted: Sequence[Work], new: Collection[Key]) -> list[Work]:
    left = set(new)
    chosen: list[Work] = []
    for item in wanted:
        if (key := key_of(item)) in left:
            left.remove(key)
            chosen.append(item)
    return chosen
