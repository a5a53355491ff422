"""The connection of an app: reads lines with bounds in size and time, writes without blocking."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from aoi_events.contracts.apps import MAX_LINE, AppRequest, ClientFrame
from aoi_events.daemon.json_lines import decode_request, encode_line
from aoi_events.errors import ErrorCode, Refusal

_LINE_WITHIN: Final = 5.0
"""Seconds from the first octet of a line to its end."""
_CLOSE_WITHIN: Final = 2.0
"""Seconds that a peer has to read the last frame."""
_LARGEST_BUFFER: Final = 8 * 1024 * 1024
"""Octets that a peer may leave unread: far more than the longest answer to *apps*."""
_READ_WITHIN: Final = 5.0
"""Seconds that a peer has to read an answer, before its next request is read."""


class AppConnection:
    """One connection to an app."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self, *, within: float | None) -> AppRequest | None:
        """The next request, None at the end; one must begin ``within`` seconds.

        Raises Refusal for a line that is invalid, too long or too slow.
        """
        try:
            async with asyncio.timeout(within):
                first = await self._reader.read(1)
        except TimeoutError:
            raise Refusal(ErrorCode.EXPIRED, f"no request came within {within:g} s") from None
        if not first:
            return None
        try:
            async with asyncio.timeout(_LINE_WITHIN):
                rest = b"" if first == b"\n" else await self._reader.readuntil(b"\n")
        except TimeoutError:
            raise Refusal(
                ErrorCode.EXPIRED, f"the line did not end within {_LINE_WITHIN:g} s"
            ) from None
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            raise Refusal(
                ErrorCode.TOO_LARGE, f"a line may have {MAX_LINE} octets at most"
            ) from None
        return decode_request(first + rest)

    def send(self, frame: ClientFrame) -> None:
        """Send a frame; disconnect a peer that leaves too much unread."""
        if self._writer.is_closing():
            return
        self._writer.write(encode_line(frame))
        if self._writer.transport.get_write_buffer_size() > _LARGEST_BUFFER:
            self._writer.transport.abort()

    async def drain(self) -> None:
        """Return when the peer has read most of what was sent. Raises Refusal."""
        try:
            async with asyncio.timeout(_READ_WITHIN):
                await self._writer.drain()
        except TimeoutError:
            raise Refusal(ErrorCode.EXPIRED, "the answer was not read") from None

    def close(self) -> None:
        """Close the connection after what was sent; `receive` then finds the end."""
        if not self._writer.is_closing():
            self._writer.close()
            loop = asyncio.get_running_loop()
            loop.call_later(_CLOSE_WITHIN, self._writer.transport.abort)

    async def send_last(self, frame: ClientFrame) -> None:
        """Send a frame and close; the peer gets time to read it. Never raises.

        What the peer still sends is discarded: to close at once would reset the connection, and
        many peers would never read the frame.
        """
        if self._writer.is_closing():
            return
        self.send(frame)
        with suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(_CLOSE_WITHIN):
                while await self._reader.read(MAX_LINE):
                    continue
        self.close()

    async def closed(self) -> None:
        """Close, and return when the connection is closed; never raises."""
        self.close()
        with suppress(OSError):
            await self._writer.wait_closed()
