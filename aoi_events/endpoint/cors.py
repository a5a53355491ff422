"""Cross-origin requests: pages in a browser may push, and withdraw what they pushed (CORS).

The URLs of Web Push are capabilities and need no cookie, so any origin may use them; the JSON API
has keys, which do not belong into pages. See the Fetch standard, section 3.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from aoi_events.endpoint.responses import Response

_PATHS: Final = ("/wpush/", "/message/")
_ANY_ORIGIN: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Location, Retry-After, TTL, WWW-Authenticate",
}
_REQUEST_HEADERS: Final = (
    "Authorization, Content-Encoding, Content-Type, Crypto-Key, Encryption, Encryption-Key, "
    "Prefer, TTL, Topic, Urgency"
)
_FOR: Final = "86400"
"""Seconds for which a browser may remember the answer to a preflight."""


def preflight(method: str) -> Callable[[web.Request], Awaitable[Response]]:
    """The handler of ``OPTIONS`` for a resource that takes ``method``."""
    headers = {
        "Allow": f"{method}, OPTIONS",
        "Access-Control-Allow-Methods": method,
        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
        "Access-Control-Max-Age": _FOR,
    }

    async def answer(_request: web.Request) -> Response:
        return Response(status=HTTPStatus.NO_CONTENT, headers=headers)

    return answer


def allow_any_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Let pages of any origin read the response, also a refusal, if it is one of Web Push."""
    if request.path.startswith(_PATHS):
        response.headers.update(_ANY_ORIGIN)
