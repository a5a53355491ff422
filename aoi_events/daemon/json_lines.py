"""The app protocol's lines: read with bounds in size and time, written without waiting."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from pydantic import ValidationError
from pydantic_core import from_json

from aoi_events.contracts.apps import APP_REQUESTS, MAX_LINE, AppRequest, ClientFrame
from aoi_events.contracts.parse import diagnose
from aoi_events.errors import ErrorCode, Refusal

__all__ = ["Lines", "read_request"]

_LINE_WITHIN: Final = 5.0
"""Seconds from the first octet of a line to its end."""
_CLOSE_WITHIN: Final = 2.0
"""Seconds that a peer has to read what was said last."""
_WAITING_AT_MOST: Final = 8 * 1024 * 1024
"""Octets that a peer may leave unread: the longest answer to *apps*, by far."""
_READ_WITHIN: Final = 5.0
"""Seconds that a peer has to read an answer, before its next request is looked at."""


def read_request(line: bytes) -> AppRequest:
    """What an app said. Raises Refusal, and nothing else, for what it could not have meant."""
    try:
        value = from_json(line, allow_inf_nan=False, cache_strings=False)
    except ValueError:
        # The parser's own words could quote the line.
        raise Refusal(
            ErrorCode.MALFORMED, "the line is not JSON (RFC 8259) in UTF-8; send one object a line"
        ) from None
    if not isinstance(value, dict):
        raise Refusal(ErrorCode.MALFORMED, "the line must be a JSON object")
    kind = value.get("type")
    model = APP_REQUESTS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise Refusal(
            ErrorCode.UNKNOWN_REQUEST,
            f"type must be one of: {', '.join(APP_REQUESTS)}",
            field="type",
        )
    try:
        return model.decode(line)
    except ValidationError as error:
        raise diagnose(line, error) from None


class Lines:
    """One connection to an app."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def next(self, *, within: float | None) -> AppRequest | None:
        """The next request, None at the end; one must begin ``within`` seconds.

        Raises Refusal for what is none, or too long, or too slow.
        """
        try:
            async with asyncio.timeout(within):
                first = await self._reader.read(1)
        except TimeoutError:
            raise Refusal(ErrorCode.EXPIRED, f"nothing was asked within {within:g} s") from None
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
            raise Refusal(ErrorCode.TOO_LARGE, f"a line may have {MAX_LINE} octets") from None
        return read_request(first + rest)

    def send(self, frame: ClientFrame) -> None:
        """Say something. A peer that lets too much wait is cut off."""
        if self._writer.is_closing():
            return
        self._writer.write(frame.encode() + b"\n")
        if self._writer.transport.get_write_buffer_size() > _WAITING_AT_MOST:
            self._writer.transport.abort()

    async def read(self) -> None:
        """Return when the peer has taken what was said, or most of it. Raises Refusal."""
        try:
            async with asyncio.timeout(_READ_WITHIN):
                await self._writer.drain()
        except TimeoutError:
            raise Refusal(ErrorCode.EXPIRED, "the answer was not read") from None

    def end(self) -> None:
        """Let what was said leave, and close; `next` finds the end."""
        if not self._writer.is_closing():
            self._writer.close()
            loop = asyncio.get_running_loop()
            loop.call_later(_CLOSE_WITHIN, self._writer.transport.abort)

    async def refuse(self, frame: ClientFrame) -> None:
        """Say it last, and let the peer come to read it; never raises.

        What the peer is still saying meanwhile is thrown away: closing at once would break the pipe
        under it, and many never read why.
        """
        if self._writer.is_closing():
            return
        self.send(frame)
        with suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(_CLOSE_WITHIN):
                while await self._reader.read(MAX_LINE):
                    continue
        self.end()

    async def closed(self) -> None:
        """End, and return when it is closed; never raises."""
        self.end()
        with suppress(OSError):
            await self._writer.wait_closed()
