"""Publish batches on one AMQP channel: one write and one future for as many confirms.

aiormq's ``basic_publish`` costs a task, two futures and a socket write for every message. This
module uses what the channel shows publicly instead: the lock that orders publishes, the counter of
delivery tags, the table of confirmations, the connection's write queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

import aiormq
from aiormq.exceptions import ChannelAccessRefused, ChannelInvalidStateError

from aoi_events.broker.let_go import LetGo
from aoi_events.broker.rabbitmq.confirms import Batch, Confirm
from aoi_events.broker.rabbitmq.faults import REFUSALS
from aoi_events.broker.rabbitmq.messages import encode
from aoi_events.broker.rabbitmq.writing import write
from aoi_events.errors import BrokerUnavailable, PublishRefused
from aoi_events.platform.logs import get_logger
from aoi_events.platform.message_ids import MessageIds
from aoi_events.ports.broker import Assurance, Outbound, Published

log = get_logger(__name__)

WRITE_AT_MOST = 256 * 1024
"""Octets that are marshalled before they are written: what a batch of large bodies holds twice."""
LET_GO_AFTER = 2.0
"""Seconds for the confirm of a message that may be lost."""
_PROBE: Final = Outbound("", "aoi.nowhere", b"", mandatory=False, persistent=False)
"""No queue takes it: that it is confirmed shows that all before it was read and routed."""


Late = Callable[[Outbound, Published], None]


def _ignore(_message: Outbound, _result: Published) -> None:
    """Drop a result that came late."""


class PublishChannel:
    """An AMQP channel with publisher confirms; any number of batches are in flight on it."""

    def __init__(
        self,
        amqp_channel: aiormq.Channel,
        *,
        user: str,
        late: Late = _ignore,
        let_go_after: float = LET_GO_AFTER,
    ) -> None:
        """``late`` receives the results of messages that were let go ``let_go_after`` seconds after
        they were written.
        """
        self.amqp_channel = amqp_channel
        self._user = user
        self._late = late
        self._let_go_after = let_go_after
        self._let_go = LetGo()
        self._answered = 0
        self._ids = MessageIds()
        self._gone: BaseException | None = None
        amqp_channel.closing.add_done_callback(self._closed)

    @classmethod
    async def open(
        cls, connection: aiormq.Connection, *, user: str, late: Late = _ignore
    ) -> PublishChannel:
        """Open a new channel."""
        amqp_channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
        return cls(cast(aiormq.Channel, amqp_channel), user=user, late=late)

    @property
    def closed(self) -> bool:
        """Whether the channel is closed, so that another one is needed."""
        return self._gone is not None or self.amqp_channel.is_closed

    async def publish(self, messages: Sequence[Outbound]) -> list[Published]:
        """Write all, then wait for the confirms; one result per message, in order.

        What may be lost is let go when its time is over, or at once where its destination is
        silent, but only after the broker has routed it. Raises BrokerUnavailable or PublishRefused
        when the channel is gone before the last of the others. Cancelled, it leaves the channel as
        it was: what was written may arrive or not.
        """
        if not messages:
            return []
        awaited = [not self._let_go or self._awaits(message) for message in messages]
        batch = Batch(messages, awaited, self._answer_late)
        left: Sequence[int] = range(len(messages))
        if not all(awaited):
            left = [index for index in left if not self._refuses(batch, index)]
        try:
            while left:
                left = left[await self._write(left, batch) :]
            await self._answers(batch)
        except ChannelInvalidStateError:
            raise self._fault() from None
        results = [result for result in batch.results if result is not None]
        if len(results) < len(messages):
            raise self._fault()
        return results

    def _note_answer(self, tag: int, message_id: str) -> None:
        """Note that the broker has answered a message."""
        if tag > self._answered:
            self._answered = tag
        self.amqp_channel.message_id_delivery_tag.pop(message_id, None)

    # -- waiting --------------------------------------------------------------------------------

    def _awaits(self, message: Outbound) -> bool:
        return message.assurance is Assurance.CONFIRM or not self._let_go.silent(message)

    def _refuses(self, batch: Batch, index: int) -> bool:
        """Whether the message is not even sent."""
        message = batch.messages[index]
        if message.assurance is Assurance.CONFIRM or not self._let_go.refuses(message):
            return False
        batch.results[index] = Published.UNCONFIRMED
        return True

    async def _answers(self, batch: Batch) -> None:
        """Wait for the confirms of a batch that was written, and let go of others."""
        if batch.may_lose:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._let_go_after, batch.await_only_what_must_be)
            try:
                await batch.done
            finally:
                timer.cancel()
        else:
            await batch.done
        if not batch.unanswered or self._gone is not None:
            return
        if self._answered < batch.last_tag:
            # A broker that is blocked, or gone, answers nothing, and may not have read the batch.
            await self.publish([_PROBE])
        for message in batch.let_go():
            if self._let_go.add(message):
                log.warning(
                    "publishes_unconfirmed",
                    exchange=message.exchange,
                    routing_key=message.routing_key,
                )

    def _answer_late(self, message: Outbound, result: Published | None) -> None:
        if self._let_go.remove(message) and result is not None:
            log.info(
                "publishes_confirmed_again",
                exchange=message.exchange,
                routing_key=message.routing_key,
            )
        if result is not None:
            self._late(message, result)

    # -- writing --------------------------------------------------------------------------------

    async def _write(self, indexes: Sequence[int], batch: Batch) -> int:
        """Write the first of these messages, up to a bounded size; return how many."""
        number, limit = self.amqp_channel.number, self.amqp_channel.max_content_size
        payload = bytearray()
        ids: list[str] = []
        fresh = self._ids.now()
        for index in indexes:
            if len(payload) > WRITE_AT_MOST:
                break
            ids.append(next(fresh))
            payload += encode(
                batch.messages[index],
                user=self._user,
                message_id=ids[-1],
                number=number,
                limit=limit,
            )
        async with self.amqp_channel.lock:
            await self._send(bytes(payload), ids, indexes, batch)
        if len(payload) > WRITE_AT_MOST:
            # Let the socket take the large one before the next is marshalled.
            await write(self.amqp_channel, b"", drained=True)
        return len(ids)

    async def _send(
        self, payload: bytes, ids: Sequence[str], indexes: Sequence[int], batch: Batch
    ) -> None:
        amqp_channel = self.amqp_channel
        # aiormq only ever asks these for what Confirm has.
        confirmations = cast(dict[int, Confirm], amqp_channel.confirmations)
        first = amqp_channel.delivery_tag + 1
        for tag, (index, message_id) in enumerate(zip(indexes, ids, strict=False), first):
            confirmations[tag] = Confirm(batch, index, tag, message_id, self._note_answer)
            amqp_channel.message_id_delivery_tag[message_id] = tag
        amqp_channel.delivery_tag += len(ids)
        try:
            await write(amqp_channel, payload)
            batch.last_tag = amqp_channel.delivery_tag
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
            if isinstance(confirm, Confirm):
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
