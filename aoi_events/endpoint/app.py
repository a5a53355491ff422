"""The web application: routes, and the responses to requests that fail."""

from __future__ import annotations

import time
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aoi_events.endpoint.api import API, NOTIFICATION_PATH, NOTIFICATIONS_PATH, Api
from aoi_events.endpoint.context import Context
from aoi_events.endpoint.openapi import OPENAPI_PATH, openapi_octets
from aoi_events.endpoint.push import MESSAGE_PATH, PUSH_PATH, WebPush
from aoi_events.endpoint.refusals import HttpRefusal, api_response, of_code, push_response
from aoi_events.errors import ErrorCode
from aoi_events.platform.logs import get_logger

log = get_logger(__name__)


def application(context: Context) -> ASGIApp:
    """Make the ASGI application."""
    push, api = WebPush(context), Api(context)
    document = openapi_octets(context.origin)

    async def describe(_request: Request) -> Response:
        return Response(document, media_type="application/json")

    routes = [
        Route(PUSH_PATH, push.send, methods=["POST"]),
        Route(MESSAGE_PATH, push.withdraw, methods=["DELETE"]),
        Route(NOTIFICATIONS_PATH, api.send, methods=["POST"]),
        Route(NOTIFICATION_PATH, api.status, methods=["GET"]),
        Route(NOTIFICATION_PATH, api.withdraw, methods=["DELETE"]),
        Route(OPENAPI_PATH, describe, methods=["GET"]),
    ]
    failures = {HttpRefusal: _refused, HTTPException: _no_route, Exception: _fault}
    app = Starlette(routes=routes, exception_handlers=failures)
    app.router.redirect_slashes = False
    return _Outermost(app, context)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HttpRefusal):
        raise error
    return _refusal_response(request.scope, error)


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer a request without a route: 404, or 405 with the allowed methods."""
    if not isinstance(error, HTTPException):
        raise error
    refusal = of_code(ErrorCode.NOT_FOUND, "there is nothing here")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        refusal = HttpRefusal(
            HTTPStatus.METHOD_NOT_ALLOWED, ErrorCode.UNKNOWN_REQUEST, "this URL takes other methods"
        )
    response = _refusal_response(request.scope, refusal)
    response.headers.update(error.headers or {})
    return response


async def _fault(request: Request, _error: Exception) -> Response:
    """Answer a request that met a bug; Starlette then raises the error to :class:`_Outermost`."""
    return _refusal_response(request.scope, of_code(ErrorCode.INTERNAL, ""))


def _refusal_response(scope: Scope, refusal: HttpRefusal) -> Response:
    of_api = str(scope["path"]).startswith(API)
    return api_response(refusal) if of_api else push_response(refusal)


class _Outermost:
    """The outermost application: limits addresses, logs faults and measures requests.

    It also closes connections whose request was not read to its end.
    """

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started, status = time.perf_counter(), None
        fields = {name for name, _ in scope["headers"]}
        unread = b"content-length" in fields or b"transfer-encoding" in fields

        async def receiving() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body"))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if unread:
                    headers = [*message.get("headers", ()), (b"connection", b"close")]
                    message = {**message, "headers": headers}
            await send(message)

        try:
            self._context.limit_address((scope.get("client") or (None,))[0])
            await self._app(scope, receiving, sending)
        except ClientDisconnect:
            return
        except HttpRefusal as refusal:
            await _refusal_response(scope, refusal)(scope, receiving, sending)
        except Exception:
            # A bug, which was answered; the connection can be used further.
            log.exception("request_failed", method=scope["method"])
        finally:
            seconds = time.perf_counter() - started
            self._context.metrics.answered(scope["method"], scope["path"], status, seconds)
