"""Reads the bodies of requests, within limits on size and time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import HttpVersion11, web

from aoi_events.endpoint.refusals import TOO_LARGE, HttpRefusal
from aoi_events.errors import ErrorCode


async def read_body(request: web.Request, most: int, *, within: float) -> bytes:
    """Read the whole body, of at most ``most`` octets, ``within`` so many seconds.

    Raises HttpRefusal (413, 408), and aiohttp's errors when the connection ends or the body is
    broken. The server discards what still arrives of a body that was refused, for as long as a body
    may take.
    """
    if (request.content_length or 0) > most:
        raise _too_large(most)
    await _continue(request)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within):
            async for part in request.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > most:
                    raise _too_large(most)
    except TimeoutError:
        raise HttpRefusal(
            HTTPStatus.REQUEST_TIMEOUT,
            ErrorCode.UNAVAILABLE,
            f"the body did not come within {within:g} s",
        ) from None
    return b"".join(parts)


async def expect_later(_request: web.Request) -> None:
    """Leave a header Expect to :func:`read_body`: a request that is refused needs no body."""


async def _continue(request: web.Request) -> None:
    """Ask for the body, if the sender waits for that (RFC 9110, section 10.1.1)."""
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    if expects and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # For aiohttp, a response begins with the first octet that was counted here.
        request.writer.output_size = 0


def _too_large(most: int) -> HttpRefusal:
    return HttpRefusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        ErrorCode.TOO_LARGE,
        f"the body may have {most} octets",
        errno=TOO_LARGE,
    )
