"""The web application: routes, and the responses to requests that fail."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from http import HTTPStatus
from itertools import chain
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from aoi_events.endpoint.api import API, NOTIFICATION_PATH, NOTIFICATIONS_PATH, Api
from aoi_events.endpoint.bodies import expect_later
from aoi_events.endpoint.context import EndpointContext
from aoi_events.endpoint.cors import allow_any_origin, preflight
from aoi_events.endpoint.openapi import OPENAPI_PATH, openapi_octets
from aoi_events.endpoint.push import MESSAGE_PATH, PUSH_PATH, WebPush
from aoi_events.endpoint.refusals import (
    HttpRefusal,
    api_response,
    head_too_large,
    of_code,
    push_response,
)
from aoi_events.endpoint.responses import Response, json_response
from aoi_events.errors import ErrorCode
from aoi_events.platform.limiters import Network, is_within
from aoi_events.platform.logs import get_logger

log = get_logger(__name__)

_WITH_PORT: Final = re.compile(r"([0-9.]+):[0-9]+|\[([^\]]*)\](?::[0-9]+)?")
"""An address in X-Forwarded-For with a port, or in brackets."""


def application(context: EndpointContext) -> web.Application:
    """Make the application."""
    push, api = WebPush(context), Api(context)
    document = openapi_octets(context.origin)

    async def describe(_request: web.Request) -> Response:
        return json_response(document)

    app = web.Application()
    app.add_routes(
        [
            web.post(PUSH_PATH, push.send, expect_handler=expect_later),
            web.options(PUSH_PATH, preflight("POST"), expect_handler=expect_later),
            web.delete(MESSAGE_PATH, push.withdraw, expect_handler=expect_later),
            web.options(MESSAGE_PATH, preflight("DELETE"), expect_handler=expect_later),
            web.post(NOTIFICATIONS_PATH, api.send, expect_handler=expect_later),
            web.get(NOTIFICATION_PATH, api.status, expect_handler=expect_later),
            web.delete(NOTIFICATION_PATH, api.withdraw, expect_handler=expect_later),
            web.get(OPENAPI_PATH, describe, expect_handler=expect_later),
        ]
    )
    return app


def outermost(context: EndpointContext, handler: Handler) -> Handler:
    """A handler around ``handler``: limits addresses, answers and logs failures, measures requests.

    It also lets pages read the responses of Web Push, and closes connections whose request was not
    read to its end.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        started, status = time.perf_counter(), None
        try:
            response = await _response(request, handler, context)
            status = response.status
            allow_any_origin(request, response)
            if not request.content.is_eof():
                response.force_close()
            return response
        except ConnectionError:
            # The sender went away; this response cannot be sent.
            return Response()
        finally:
            seconds = time.perf_counter() - started
            context.metrics.answered(request.method, request.path, status, seconds)

    return answer


async def _response(
    request: web.Request, handler: Handler, context: EndpointContext
) -> web.StreamResponse:
    try:
        fields = sum(map(len, chain(*request.raw_headers)))
        if len(request.raw_path) + fields > context.settings.head_octets:
            raise head_too_large()
        context.limit_address(_sender_address(request, context.settings.proxies))
        return await handler(request)
    except HttpRefusal as refusal:
        return _refused(request, refusal)
    except web.HTTPMethodNotAllowed as error:
        status, code = HTTPStatus.METHOD_NOT_ALLOWED, ErrorCode.UNKNOWN_REQUEST
        response = _refused(request, HttpRefusal(status, code, "this URL takes other methods"))
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response
    except web.HTTPExpectationFailed:
        status, message = HTTPStatus.EXPECTATION_FAILED, "Expect can be 100-continue only"
        return _refused(request, HttpRefusal(status, ErrorCode.MALFORMED, message))
    except web.HTTPNotFound:
        return _refused(request, of_code(ErrorCode.NOT_FOUND, "there is nothing here"))
    except (ConnectionError, web.RequestPayloadError):
        raise
    except Exception:
        # A bug; the connection can be used further.
        log.exception("request_failed", method=request.method)
        return _refused(request, of_code(ErrorCode.INTERNAL, ""))


def _refused(request: web.Request, refusal: HttpRefusal) -> Response:
    of_api = request.path.startswith(API)
    return api_response(refusal) if of_api else push_response(refusal)


def _sender_address(request: web.Request, proxies: Sequence[Network]) -> str | None:
    """The address that a request came from, as the trusted proxies on its way name it."""
    address = request.remote
    values = request.headers.getall("X-Forwarded-For", ()) if proxies else ()
    hops = [hop.strip() for value in values for hop in value.split(",") if hop.strip()]
    while hops and is_within(address, proxies):
        hop = hops.pop()
        match = _WITH_PORT.fullmatch(hop)
        address = hop if match is None else match[1] or match[2]
    return address
