"""The responses of the endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

_NOT_SENT: Final = ("Date", "Server")
"""Header fields that aiohttp adds, and that no sender needs."""


class Response(web.Response):
    """A response without the version of the server."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        for name in _NOT_SENT:
            self.headers.popall(name, None)


def json_response(
    body: bytes,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response with a JSON document."""
    return Response(body=body, status=status, headers=headers, content_type="application/json")
