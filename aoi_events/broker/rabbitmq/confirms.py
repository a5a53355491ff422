"""The confirms of publishes: one future for a batch of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiormq.abc import DeliveredMessage

from aoi_events.ports.broker import Assurance, Outbound, Published


class Batch:
    """The confirms of one publish that are still to come.

    ``done`` is set when those that are awaited have come. A result that comes after a message was
    let go goes to ``late``; None: the channel is gone.
    """

    __slots__ = ("_awaited", "_late", "_left", "_let_go", "done", "last_tag", "messages", "results")

    def __init__(
        self,
        messages: Sequence[Outbound],
        awaited: Sequence[bool],
        late: Callable[[Outbound, Published | None], None],
    ) -> None:
        self.messages = messages
        self.results: list[Published | None] = [None] * len(messages)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.last_tag = 0
        self._awaited = list(awaited)
        self._left = sum(awaited)
        self._late = late
        self._let_go: dict[int, Outbound] = {}
        self._finish()

    def settle(self, index: int, result: Published | None) -> None:
        """The broker answered a message, or the channel is gone."""
        if self.results[index] is Published.UNCONFIRMED:
            self._late(self._let_go.pop(index), result)
            return
        self.results[index] = result
        if self._awaited[index]:
            self._await_no_more(index)
            self._finish()

    def await_only_what_must_be(self) -> None:
        """Await no more what may be lost."""
        for index, message in enumerate(self.messages):
            if message.assurance is not Assurance.CONFIRM:
                self._await_no_more(index)
        self._finish()

    @property
    def may_lose(self) -> bool:
        """Whether any of the messages may be lost."""
        return any(message.assurance is not Assurance.CONFIRM for message in self.messages)

    @property
    def unanswered(self) -> bool:
        """Whether there are messages without a result."""
        return None in self.results

    def let_go(self) -> list[Outbound]:
        """Let the unanswered messages go; returns them, without what a late answer does not need.

        Nothing of the others stays, however late the answer is.
        """
        for index, message in enumerate(self.messages):
            if self.results[index] is None:
                self.results[index] = Published.UNCONFIRMED
                self._let_go[index] = replace(message, body=b"", note=None)
        self.messages = ()
        return list(self._let_go.values())

    def _await_no_more(self, index: int) -> None:
        self._left -= self._awaited[index]
        self._awaited[index] = False

    def _finish(self) -> None:
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)


class Confirm:
    """The confirm of one message, in aiormq's table of confirmations in place of a future.

    Nobody can cancel it, so a publisher that was cancelled leaves nothing behind that would make
    the channel stumble over a late answer.
    """

    __slots__ = ("_answered", "_batch", "_done", "_index", "_message_id", "_tag")

    def __init__(
        self,
        batch: Batch,
        index: int,
        tag: int,
        message_id: str,
        answered: Callable[[int, str], None],
    ) -> None:
        """``answered`` is called with tag and message ID before the batch learns of it."""
        self._answered = answered
        self._batch = batch
        self._index = index
        self._tag = tag
        self._message_id = message_id
        self._done = False

    def done(self) -> bool:
        """Whether there is an answer."""
        return self._done

    def cancelled(self) -> bool:
        """Never."""
        return False

    def set_result(self, answer: object) -> None:
        """The broker took it, or returned it."""
        returned = isinstance(answer, DeliveredMessage)
        self.settle(Published.RETURNED if returned else Published.CONFIRMED)

    def set_exception(self, _error: BaseException) -> None:
        """The broker refused it."""
        self.settle(Published.NACKED)

    def settle(self, result: Published | None) -> None:
        """The answer, once; None: the channel is gone."""
        if not self._done:
            self._done = True
            self._answered(self._tag, self._message_id)
            self._batch.settle(self._index, result)
