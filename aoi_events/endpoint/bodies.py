"""Reads the bodies of requests, within limits on size and time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from starlette.requests import Request

from aoi_events.endpoint.refusals import TOO_LARGE, HttpRefusal
from aoi_events.errors import ErrorCode

LINGER_OCTETS: Final = 1_048_576
"""Octets after a refusal that are read and discarded: a connection that is closed while a body
arrives loses the answer that explains the refusal."""


async def read_body(request: Request, most: int, *, within: float) -> bytes:
    """Read the whole body, of at most ``most`` octets, ``within`` so many seconds.

    Raises HttpRefusal (413, 408), and Starlette's ClientDisconnect.
    """
    declared = request.headers.get("content-length", "")
    expects = "expect" in request.headers
    if declared.isdecimal() and int(declared) > (most if expects else LINGER_OCTETS):
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within):
            async for part in request.stream():
                size += len(part)
                if size <= most:
                    parts.append(part)
                elif size > LINGER_OCTETS:
                    break
    except TimeoutError:
        raise HttpRefusal(
            HTTPStatus.REQUEST_TIMEOUT,
            ErrorCode.UNAVAILABLE,
            f"the body did not come within {within:g} s",
        ) from None
    if size > most:
        raise _too_large(most)
    return b"".join(parts)


def _too_large(most: int) -> HttpRefusal:
    return HttpRefusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        ErrorCode.TOO_LARGE,
        f"the body may have {most} octets",
        errno=TOO_LARGE,
    )
