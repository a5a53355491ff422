"""An SMSC of plain sockets, which answers whatever a test wants, octet by octet."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple, Self

from aoi_events.platform.sockets import abort
from tests.support.limits import WITHIN

HEADER: Final = struct.Struct(">IIII")
RECEIVER, TRANSMITTER, TRANSCEIVER = 0x01, 0x02, 0x09
SUBMIT_SM, DELIVER_SM, UNBIND, ENQUIRE_LINK, DATA_SM = 0x04, 0x05, 0x06, 0x15, 0x103
RESPONSE, NACK = 0x80000000, 0x80000000


class Frame(NamedTuple):
    """A PDU as it arrived."""

    command: int
    status: int
    sequence: int
    body: bytes


def pdu(command: int, status: int = 0, sequence: int = 1, body: bytes = b"") -> bytes:
    """The octets of a PDU."""
    return HEADER.pack(HEADER.size + len(body), command, status, sequence) + body


def report_body(
    text: bytes = b"",
    *,
    source: str = "31600000001",
    destination: str = "AOI",
    esm_class: int = 0x04,
    data_coding: int = 0,
    optional: tuple[tuple[int, bytes], ...] = (),
    data_sm: bool = False,
) -> bytes:
    """The body of a ``deliver_sm`` or ``data_sm`` to an ESME."""
    addresses = b"\0\1\1" + source.encode() + b"\0\5\0" + destination.encode() + b"\0"
    tlvs = b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in optional)
    if data_sm:
        payload = struct.pack(">HH", 0x0424, len(text)) + text if text else b""
        return addresses + bytes((esm_class, 0, data_coding)) + payload + tlvs
    fields = bytes((esm_class, 0, 0, 0, 0, 0, 0, data_coding, 0, len(text)))
    return addresses + fields + text + tlvs


@dataclass(eq=False)
class RawSmsc:
    """``async with RawSmsc() as smsc``: accepts every bind, and each message under the next of
    ``ids``; ``answers`` replaces the answer to a command, None answers nothing.

    ``frames`` are all that came, with the number of their connection.
    """

    ids: Iterator[str] = field(default_factory=lambda: (f"{number:08X}" for number in count(1)))
    answers: dict[int, Callable[[Frame], bytes | None]] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    frames: list[tuple[int, Frame]] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 0

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Condition()
        self._writers: list[asyncio.StreamWriter] = []
        self._numbers = count(1_000)
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            abort(writer.transport)

    def commands(self, connection: int | None = None) -> list[int]:
        """The commands that came over all connections, or over one."""
        return [frame.command for number, frame in self.frames if connection in (None, number)]

    async def came(self, command: int, times: int = 1) -> Frame:
        """Wait until a command has come so often; returns the last such PDU."""
        async with asyncio.timeout(WITHIN), self._changed:
            await self._changed.wait_for(lambda: self.commands().count(command) >= times)
        return [frame for _, frame in self.frames if frame.command == command][times - 1]

    def send(self, octets: bytes, connection: int = -1) -> None:
        """Send any octets over a connection, by default the last."""
        self._writers[connection].write(octets)

    def close(self, connection: int = -1) -> None:
        """Close a connection, by default the last, behind what was sent over it."""
        self._writers[connection].close()

    def ask(self, command: int, body: bytes = b"", connection: int = -1) -> int:
        """Send a request; returns its sequence number."""
        number = next(self._numbers)
        self.send(pdu(command, 0, number, body), connection)
        return number

    async def answered(self, number: int) -> Frame:
        """Wait for the answer to a request of ours."""

        def answers() -> list[Frame]:
            return [
                frame
                for _, frame in self.frames
                if frame.command & RESPONSE and frame.sequence == number
            ]

        async with asyncio.timeout(WITHIN), self._changed:
            await self._changed.wait_for(lambda: bool(answers()))
        return answers()[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = len(self._writers)
        self._writers.append(writer)
        try:
            while True:
                length, command, status, number = HEADER.unpack(
                    await reader.readexactly(HEADER.size)
                )
                body = await reader.readexactly(length - HEADER.size)
                frame = Frame(command, status, number, body)
                async with self._changed:
                    self.frames.append((connection, frame))
                    self._changed.notify_all()
                answer = self.answers.get(frame.command, self._usual)(frame)
                if answer is not None:
                    writer.write(answer)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    def _usual(self, frame: Frame) -> bytes | None:
        if frame.command & RESPONSE:
            return None
        body = b""
        if frame.command == SUBMIT_SM:
            body = next(self.ids).encode() + b"\0"
        elif frame.command in (RECEIVER, TRANSMITTER, TRANSCEIVER):
            body = b"RAW\0"
        return pdu(frame.command | RESPONSE, 0, frame.sequence, body)
