"""The responses of the endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web


class Response(web.Response):
    """A response without the version of the server."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


def json_response(
    body: bytes,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response with a JSON document."""
    return Response(body=body, status=status, headers=headers, content_type="application/json")
