"""Publish batches on one AMQP channel: one write and one future for as many confirms.

aiormq's ``basic_publish`` costs a task, two futures and a socket write for every message. This
module uses what the channel shows publicly instead: the lock that orders publishes, the counter of
delivery tags, the table of confirmations, the connection's write queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import aiormq
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelInvalidStateError

from aoi_events.broker.rabbitmq.faults import REFUSALS
from aoi_events.broker.rabbitmq.messages import encode
from aoi_events.broker.rabbitmq.writing import write
from aoi_events.errors import BrokerUnavailable, PublishRefused
from aoi_events.platform.message_ids import MessageIds
from aoi_events.ports.broker import Outbound, Published

WRITE_AT_MOST = 256 * 1024
"""Octets that are marshalled before they are written: what a batch of large bodies holds twice."""


class _Batch:
    """The confirms of one publish that are still to come."""

    __slots__ = ("_left", "done", "results")

    def __init__(self, size: int) -> None:
        self.results: list[Published | None] = [None] * size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = size

    def settle(self, index: int, result: Published | None) -> None:
        self.results[index] = result
        self._left -= 1
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)


class _Confirm:
    """The confirm of one message, in aiormq's table of confirmations in place of a future.

    Nobody can cancel it, so a publisher that was cancelled leaves nothing behind that would make
    the channel stumble over a late answer.
    """

    __slots__ = ("_batch", "_done", "_ids", "_index", "_message_id")

    def __init__(self, batch: _Batch, index: int, ids: dict[str, int], message_id: str) -> None:
        self._batch = batch
        self._index = index
        self._ids = ids
        self._message_id = message_id
        self._done = False

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return False

    def set_result(self, answer: object) -> None:
        returned = isinstance(answer, DeliveredMessage)
        self.settle(Published.RETURNED if returned else Published.CONFIRMED)

    def set_exception(self, _error: BaseException) -> None:
        self.settle(Published.NACKED)

    def settle(self, result: Published | None) -> None:
        if not self._done:
            self._done = True
            self._ids.pop(self._message_id, None)
            self._batch.settle(self._index, result)


class PublishChannel:
    """An AMQP channel with publisher confirms; any number of batches are in flight on it."""

    def __init__(self, amqp_channel: aiormq.Channel, *, user: str) -> None:
        self.amqp_channel = amqp_channel
        self._user = user
        self._ids = MessageIds()
        self._gone: BaseException | None = None
        amqp_channel.closing.add_done_callback(self._closed)

    @classmethod
    async def open(cls, connection: aiormq.Connection, *, user: str) -> PublishChannel:
        """Open a new channel."""
        amqp_channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
        return cls(cast(aiormq.Channel, amqp_channel), user=user)

    @property
    def closed(self) -> bool:
        """Whether the channel is closed, so that another one is needed."""
        return self._gone is not None or self.amqp_channel.is_closed

    async def publish(self, messages: Sequence[Outbound]) -> list[Published]:
        """Write all, then wait for every confirm; one result per message, in order.

        Raises BrokerUnavailable or PublishRefused when the channel is gone before the last of them.
        Cancelled, it leaves the channel as it was: what was written may arrive or not.
        """
        if not messages:
            return []
        batch = _Batch(len(messages))
        written = 0
        try:
            while written < len(messages):
                written = await self._write(messages, written, batch)
            await batch.done
        except ChannelInvalidStateError:
            raise self._fault() from None
        results = [result for result in batch.results if result is not None]
        if len(results) < len(messages):
            raise self._fault()
        return results

    async def _write(self, messages: Sequence[Outbound], start: int, batch: _Batch) -> int:
        """Write messages from ``start`` on, up to a bounded size; return where to go on."""
        number, limit = self.amqp_channel.number, self.amqp_channel.max_content_size
        payload = bytearray()
        ids: list[str] = []
        fresh = self._ids.now()
        for message in messages[start:]:
            if len(payload) > WRITE_AT_MOST:
                break
            ids.append(next(fresh))
            payload += encode(
                message, user=self._user, message_id=ids[-1], number=number, limit=limit
            )
        async with self.amqp_channel.lock:
            await self._send(bytes(payload), ids, start, batch)
        if len(payload) > WRITE_AT_MOST:
            # Let the socket take the large one before the next is marshalled.
            await write(self.amqp_channel, b"", drained=True)
        return start + len(ids)

    async def _send(self, payload: bytes, ids: Sequence[str], start: int, batch: _Batch) -> None:
        amqp_channel = self.amqp_channel
        # aiormq only ever asks these for what _Confirm has.
        confirmations = cast(dict[int, _Confirm], amqp_channel.confirmations)
        first = amqp_channel.delivery_tag + 1
        for offset, message_id in enumerate(ids):
            confirmations[first + offset] = _Confirm(
                batch, start + offset, amqp_channel.message_id_delivery_tag, message_id
            )
            amqp_channel.message_id_delivery_tag[message_id] = first + offset
        amqp_channel.delivery_tag += len(ids)
        try:
            await write(amqp_channel, payload)
        except BaseException:
            # Cancelled before the broker could see any of it: the tags are still free.
            amqp_channel.delivery_tag -= len(ids)
            for offset, message_id in enumerate(ids):
                confirmations.pop(first + offset, None)
                amqp_channel.message_id_delivery_tag.pop(message_id, None)
            raise

    def _closed(self, closing: asyncio.Future[object]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self._gone = error or BrokerUnavailable("the channel was closed")
        waiting: list[object] = list(self.amqp_channel.confirmations.values())
        for confirm in waiting:
            if isinstance(confirm, _Confirm):
                confirm.settle(None)

    def _fault(self) -> Exception:
        if isinstance(self._gone, ChannelAccessRefused):
            return PublishRefused(
                f"the broker user {self._user!r} may not publish this ({self._gone}); "
                "use the URL of a user that may"
            )
        if isinstance(self._gone, REFUSALS):
            return PublishRefused(f"the broker refused a publish: {self._gone}")
        return BrokerUnavailable("the connection was lost before every publish was confirmed")
