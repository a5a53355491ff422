"""An SMSC on loopback: a real SMPP server with scripted answers and a mailbox per telephone.

For tests and the demo. What it accepts it puts into the mailbox of the number, where a fake device
reads it, and reports with a receipt. Behind a small relay of its own, so that a test can also cut
the line, freeze it without a word, take the SMSC away, or let it say nonsense.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

import smpp34

from aoi_events.channels.sms.message_states import STATES, MessageState
from aoi_events.channels.sms.receipts import MESSAGE_STATE, RECEIPTED_MESSAGE_ID
from aoi_events.client.core.inputs import ShortMessage
from aoi_events.platform.sockets import abort
from aoi_events.platform.tasks import first_completed
from aoi_events.testing.exit_delay import delay_exit
from aoi_events.testing.limits import WITHIN
from aoi_events.testing.ports import free_port

_HOST: Final = "127.0.0.1"
_RECEIPT: Final = 0x04
_WAITS_FOR_AN_ANSWER: Final = 0.05
"""Seconds after a receipt without an answer before the next one, or the response."""
_STATE_TEXTS: Final = {state: text for text, state in STATES.items()}


@dataclass(frozen=True, slots=True)
class Reply:
    """How the SMSC answers one submission.

    ``status`` 0 accepts, anything else refuses with that command_status, None never answers.
    An accepted message reaches its mailbox unless ``lost``; ``receipts`` follow in order (the same
    state twice is a receipt that comes twice), or come before the response when
    ``receipt_first``; ``form`` says how a receipt names message and state.
    """

    status: int | None = 0
    receipts: tuple[MessageState, ...] = (MessageState.DELIVERED,)
    receipt_first: bool = False
    form: Literal["parameters", "text"] = "parameters"
    lost: bool = False

    @classmethod
    def throttle(cls) -> Reply:
        """Refuse because of the rate (RTHROTTLED)."""
        return cls(status=0x58)

    @classmethod
    def queue_full(cls) -> Reply:
        """Refuse because the queue is full (RMSGQFUL)."""
        return cls(status=0x14)

    @classmethod
    def bad_number(cls) -> Reply:
        """Refuse because there is no such number (RINVDSTADR)."""
        return cls(status=0x0B)

    @classmethod
    def silence(cls) -> Reply:
        """Take the submission and never answer it."""
        return cls(status=None)


@dataclass(frozen=True, slots=True)
class ShortMessageReceived:
    """A message as it arrived: number with ``+``, sender, user data with its header, message ID."""

    number: str
    sender: str
    user_data: bytes
    message_id: str


class LoopbackSmsc:
    """An SMSC in the process of a test: ``async with LoopbackSmsc() as smsc``.

    Point the SMS channel at its host and port.

    ``default`` answers what no script covers; `script` queues answers for the next submissions.
    ``submissions`` are all that came, accepted or not.
    """

    def __init__(self, default: Reply | None = None) -> None:
        delay_exit()
        self.default = default or Reply()
        self.submissions: Final[list[ShortMessageReceived]] = []
        self._script: Final[deque[Reply]] = deque()
        self._mailboxes: Final[defaultdict[str, asyncio.Queue[ShortMessageReceived]]] = defaultdict(
            asyncio.Queue
        )
        self._changed: Final = asyncio.Condition()
        self._flowing: Final = asyncio.Event()
        self._flowing.set()
        self._sessions: Final[dict[str, smpp34.Esme]] = {}
        self._unanswered: Final[list[smpp34.SubmitSmEvent]] = []
        self._lines: Final[set[asyncio.StreamWriter]] = set()
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._server: smpp34.Server | None = None
        self._server_port = free_port()
        self._relay: asyncio.Server | None = None
        self._port = free_port()

    @property
    def host(self) -> str:
        """The address to connect to."""
        return _HOST

    @property
    def port(self) -> int:
        """The port to connect to; the same after the SMSC went down and came back."""
        return self._port

    @property
    def binds(self) -> int:
        """How many sessions are bound now."""
        return len(self._sessions)

    async def __aenter__(self) -> Self:
        self._server = smpp34.Server(_HOST, self._server_port, system_id="LOOPBACK")
        await self._server.start()
        await self.come_back()
        self._spawn(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go_down()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()

    def script(self, *replies: Reply) -> None:
        """Answer the next submissions like this, in the order of their arrival."""
        self._script.extend(replies)

    async def receive(self, number: str, within: float = WITHIN) -> ShortMessageReceived:
        """Wait for the next message to ``number``. Raises TimeoutError."""
        async with asyncio.timeout(within):
            return await self.mailbox(number).get()

    def mailbox(self, number: str) -> asyncio.Queue[ShortMessageReceived]:
        """Messages that arrived at ``number`` and were not read."""
        return self._mailboxes["+" + number.lstrip("+")]

    async def telephone(self, number: str) -> AsyncIterator[ShortMessage]:
        """Every message to ``number``, as an SMS source of an AOI Client."""
        mailbox = self.mailbox(number)
        while True:
            message = await mailbox.get()
            yield ShortMessage(message.user_data, message.sender)

    async def submitted(self, count: int, within: float = WITHIN) -> None:
        """Return once at least ``count`` submissions have come. Raises TimeoutError."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self.submissions) >= count)

    async def bound(self, count: int = 1, within: float = WITHIN) -> None:
        """Return once exactly ``count`` sessions are bound. Raises TimeoutError."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self._sessions) == count)

    async def say(self, user_data: bytes, *, esm_class: int = 0) -> None:
        """Deliver a message of any kind to every bound session, and wait for its response."""
        for session in list(self._sessions.values()):
            await session.deliver_sm("0", user_data, source_addr="1", esm_class=esm_class)

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        for line in list(self._lines):
            abort(line.transport)

    def freeze(self) -> None:
        """Forward nothing and close nothing, as a connection that was cut without notice."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward again, first what was delayed."""
        self._flowing.set()

    def babble(self, octets: bytes) -> None:
        """Send any octets over every connection to a client."""
        for line in self._lines:
            if not line.is_closing():
                line.write(octets)

    async def go_down(self) -> None:
        """Stop listening and cut every connection."""
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()
        self.cut()

    async def come_back(self) -> None:
        """Listen again, on the same port."""
        self._relay = await asyncio.start_server(self._carry, _HOST, self._port)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(_HOST, self._server_port)
        except OSError:
            abort(writer.transport)
            self._lines.discard(writer)
            return
        try:
            # Either end that closes takes the other one along.
            await first_completed(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._lines.discard(writer)
            for end in (far_writer, writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while octets := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(octets)
                await writer.drain()

    async def _serve(self) -> None:
        assert self._server is not None
        while True:
            event = await self._server.next()
            async with self._changed:
                if isinstance(event, smpp34.Esme):
                    self._sessions[event.session_id] = event
                elif isinstance(event, smpp34.Unbound):
                    self._sessions.pop(event.session_id, None)
                else:
                    self._take(event)
                self._changed.notify_all()

    def _take(self, event: smpp34.SubmitSmEvent) -> None:
        message = ShortMessageReceived(
            "+" + event.destination_addr,
            event.source_addr,
            event.short_message,
            f"{len(self.submissions) + 1:08x}",
        )
        self.submissions.append(message)
        reply = self._script.popleft() if self._script else self.default
        if reply.status is None:
            self._unanswered.append(event)  # dropping it would answer it
        elif reply.status != 0:
            event.reject(reply.status)
        else:
            self._spawn(self._accept(event, message, reply))

    async def _accept(
        self, event: smpp34.SubmitSmEvent, message: ShortMessageReceived, reply: Reply
    ) -> None:
        if not reply.receipt_first:
            event.accept(message.message_id)
        if not reply.lost:
            self.mailbox(message.number).put_nowait(message)
        session = self._sessions.get(event.session_id)
        if session is not None and event.registered_delivery & 0x03:
            for state in reply.receipts:
                report = self._spawn(self._report(session, message, state, reply.form))
                await asyncio.wait({report}, timeout=_WAITS_FOR_AN_ANSWER)
        if reply.receipt_first:
            event.accept(message.message_id)

    async def _report(
        self,
        session: smpp34.Esme,
        message: ShortMessageReceived,
        state: MessageState,
        form: Literal["parameters", "text"],
    ) -> None:
        name, stat = message.message_id, _STATE_TEXTS[state]
        if form == "text":
            now = f"{datetime.now(UTC):%y%m%d%H%M}"
            text = f"id:{name} sub:001 dlvrd:001 submit date:{now} done date:{now} "
            text += f"stat:{stat} err:000 Text:"
            tlvs = []
        else:
            text = ""
            tlvs = [
                smpp34.Tlv(RECEIPTED_MESSAGE_ID, name.encode() + b"\0"),
                smpp34.Tlv(MESSAGE_STATE, bytes((state,))),
            ]
        with suppress(smpp34.SmppError):  # the session ended: no receipt, as in life
            await session.deliver_sm(
                message.sender,
                text.encode(),
                source_addr=message.number.removeprefix("+"),
                esm_class=_RECEIPT,
                tlvs=tlvs,
            )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
