"""One connection to an SMSC: requests and their responses, both ways, and checks that it lives."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from aoi_events.channels.sms.pdu import HEADER, LAST_SEQUENCE, MOST_OCTETS, RESPONSE, Command, Pdu
from aoi_events.channels.sms.status import INVALID_COMMAND, INVALID_LENGTH, OK, PERMANENT_ERROR
from aoi_events.errors import ProviderUnavailable
from aoi_events.platform.logs import get_logger
from aoi_events.platform.sockets import abort

Answer = Callable[[int], None]
"""Answers a request of the SMSC with a status; does nothing once the connection has ended."""

_UNANSWERED_COMMANDS: Final = frozenset({Command.OUTBIND, Command.ALERT_NOTIFICATION})
_WITH_MESSAGE_ID: Final = frozenset({Command.DELIVER_SM, Command.DATA_SM})

log = get_logger(__name__)


class SmppConnection:
    """A connection over which both ends send requests.

    ``ended`` is done, with the reason, as soon as nothing is read any more.
    ``on_message`` gets each ``deliver_sm`` and ``data_sm``, and a function that answers it, to be
    called at any time. While the SMSC reads no answers, nothing of it is read.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_message: Callable[[Pdu, Answer], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: Final[asyncio.Future[str]] = self._loop.create_future()
        self.received_at = self._loop.time()
        """When the SMSC sent something last."""
        self._reader = reader
        self._writer = writer
        self._on_message = on_message
        self._sequence = 0
        self._closing = False
        self._ends_for = ""
        self._unbind: int | None = None
        self._waiting: dict[int, tuple[Command, asyncio.Future[Pdu]]] = {}
        self._tasks = {asyncio.create_task(self._read())}

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        on_message: Callable[[Pdu, Answer], None],
    ) -> SmppConnection:
        """Connect. Raises ProviderUnavailable."""
        try:
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        except OSError as error:
            why = error.strerror or error
            raise ProviderUnavailable(f"no connection: {why}") from None
        return cls(reader, writer, on_message)

    async def request(self, command: Command, body: bytes = b"", *, within: float) -> Pdu:
        """Send a request and return its response, which may be a ``generic_nack``.

        Raises TimeoutError, and ProviderUnavailable when the connection ends before.
        """
        if self._closing:
            raise ProviderUnavailable("the connection is being closed")
        return await self._exchange(command, body, within)

    def check(self, period: float, within: float) -> None:
        """From now on, send ``enquire_link`` after each ``period`` without anything from the SMSC;
        end the connection if it does not answer in time.

        This is the enquire_link_timer of SMPP 3.4, 7.2: time between operations, whichever end they
        come from. An SMSC that sends its own, or receipts, has our answers as signs of life.
        """
        self._tasks.add(asyncio.create_task(self._check(period, within)))

    @property
    def lost(self) -> bool:
        """Whether it takes no more requests."""
        return self._closing or self.ended.done()

    def end_after_responses(self, why: str) -> None:
        """Take no more requests, and end as soon as each submission that is open has its response
        or is out of time: what the SMSC took would be sent again, and paid again, without it.
        """
        self._closing = True
        self._ends_for = self._ends_for or why
        self._end_if_nothing_is_open()

    def end(self, why: str) -> None:
        """Use the connection no more."""
        if self.ended.done():
            return
        self.ended.set_result(why)
        for _, response in self._waiting.values():
            if not response.done():
                response.set_exception(ProviderUnavailable(why))
        # What was written before goes out, unless the SMSC stopped reading.
        self._writer.close()

    async def close(self, unbind_within: float, *, responses_within: float = 0.0) -> None:
        """Take no more requests and wait for the responses to submissions that are open, because
        they would be sent again without one; then unbind if the SMSC still answers, and close the
        connection. Takes the sum of both times at most.
        """
        self._closing = True
        try:
            if waiting := self._submissions():
                await asyncio.wait(waiting, timeout=responses_within)
            with suppress(TimeoutError, ProviderUnavailable):
                await self._exchange(Command.UNBIND, b"", unbind_within)
        finally:
            self.end("closed")
            await self._end_tasks()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            results = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            abort(self._writer.transport)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _exchange(self, command: Command, body: bytes, within: float) -> Pdu:
        if self.ended.done():
            raise ProviderUnavailable(self.ended.result())
        self._sequence = self._sequence % LAST_SEQUENCE + 1
        number = self._sequence
        response: asyncio.Future[Pdu] = self._loop.create_future()
        self._waiting[number] = command, response
        try:
            self._send(Pdu(command, OK, number, body))
            async with asyncio.timeout(within):
                return await response
        finally:
            del self._waiting[number]
            self._end_if_nothing_is_open()

    def _submissions(self) -> list[asyncio.Future[Pdu]]:
        """The responses to submissions that are open."""
        return [each for command, each in self._waiting.values() if command is Command.SUBMIT_SM]

    def _end_if_nothing_is_open(self) -> None:
        if self._ends_for and not self._submissions():
            if self._unbind is not None:
                self._answer(Command.UNBIND, self._unbind, OK)
            self.end(self._ends_for)

    async def _read(self) -> None:
        try:
            while not self.ended.done():
                length, command, status, number = HEADER.unpack(
                    await self._reader.readexactly(HEADER.size)
                )
                if not HEADER.size <= length <= MOST_OCTETS:
                    self._send(Pdu(Command.GENERIC_NACK, INVALID_LENGTH, number))
                    self.end(f"the SMSC sent a PDU of {length} octets")
                    return
                body = await self._reader.readexactly(length - HEADER.size)
                self.received_at = self._loop.time()
                self._take(Pdu(command, status, number, body))
                # Of a connection that the SMSC has closed the responses that came are still read.
                if not self._writer.is_closing():
                    await self._writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            self.end("the SMSC closed the connection")
        finally:
            self.end("the connection is not read any more")

    async def _check(self, period: float, within: float) -> None:
        while not self.ended.done():
            left = self.received_at + period - self._loop.time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            try:
                await self.request(Command.ENQUIRE_LINK, within=within)
            except TimeoutError:
                self.end(f"no answer to enquire_link within {within:g} s")
            except ProviderUnavailable:
                return

    def _take(self, pdu: Pdu) -> None:
        if pdu.is_response:
            command, response = self._waiting.get(pdu.sequence, (None, None))
            fits = command is not None and pdu.command in (command | RESPONSE, Command.GENERIC_NACK)
            if response is not None and fits and not response.done():
                response.set_result(pdu)
        elif pdu.command in _WITH_MESSAGE_ID:
            self._pass_on(pdu)
        elif pdu.command == Command.ENQUIRE_LINK:
            self._answer(pdu.command, pdu.sequence, OK)
        elif pdu.command == Command.UNBIND:
            self._unbind = pdu.sequence
            self.end_after_responses("the SMSC unbound us")
        elif pdu.command not in _UNANSWERED_COMMANDS:
            self._send(Pdu(Command.GENERIC_NACK, INVALID_COMMAND, pdu.sequence))

    def _pass_on(self, pdu: Pdu) -> None:
        try:
            # The answer may be due later: it must not keep the whole PDU until then.
            self._on_message(pdu, partial(self._answer, pdu.command, pdu.sequence))
        except Exception:
            # One message must not end the session, for the SMSC would send it again to the next.
            log.exception("smsc_message_failed")
            self._answer(pdu.command, pdu.sequence, PERMANENT_ERROR)

    def _answer(self, command: int, sequence: int, status: int) -> None:
        body = b"\0" if command in _WITH_MESSAGE_ID else b""
        self._send(Pdu(command | RESPONSE, status, sequence, body))

    def _send(self, pdu: Pdu) -> None:
        if not self.ended.done():
            self._writer.write(pdu.encode())
