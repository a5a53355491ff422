"""The JSON API: the requests of Application Servers, over HTTP with an API key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from aoi_events.contracts.answers import (
    AnyAnswer,
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
)
from aoi_events.contracts.base import MAX_BODY
from aoi_events.contracts.json_bodies import without_bom
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.requests import (
    CancelNotificationV1,
    QueryNotificationV1,
    SendNotificationV1,
)
from aoi_events.contracts.senders import api_key_sender
from aoi_events.endpoint.api_keys import bearer_of, name_of
from aoi_events.endpoint.bodies import read_body
from aoi_events.endpoint.context import EndpointContext
from aoi_events.endpoint.refusals import (
    BAD_AUTHORIZATION,
    HttpRefusal,
    all_rejected_response,
    of_code,
)
from aoi_events.endpoint.responses import Response, json_response
from aoi_events.errors import ErrorCode, Refusal

API: Final = "/v1/"
"""The beginning of all of its paths."""
NOTIFICATIONS_PATH: Final = "/v1/notifications"
NOTIFICATION_PATH: Final = "/v1/notifications/{notification}"


class Api:
    """The handlers of the JSON API; the API key names the sender."""

    def __init__(self, context: EndpointContext) -> None:
        self._context = context

    async def send(self, request: web.Request) -> Response:
        """``POST``: accept a notification (202); the answer names every token. If none of them was
        accepted: 422, or 503 if a repeat may succeed.
        """
        sender = self._sender(request)
        _refuse_encoded(request)
        body = await read_body(request, MAX_BODY, within=self._context.settings.body_within)
        asked = _read_send(body, new_id=f"api-{self._context.dice.token_hex(16)}")
        answer = await self._context.requests.ask(sender, asked, NotificationAcceptedV1)
        if not answer.deliveries:
            return all_rejected_response(answer)
        return json_response(answer.encode(), HTTPStatus.ACCEPTED)

    async def status(self, request: web.Request) -> Response:
        """``GET``: the status of each delivery."""
        return await self._ask(request, QueryNotificationV1, NotificationStatusV1)

    async def withdraw(self, request: web.Request) -> Response:
        """``DELETE``: withdraw the deliveries that are not settled, or a notification to come."""
        return await self._ask(request, CancelNotificationV1, NotificationCancelledV1)

    async def _ask(
        self,
        request: web.Request,
        contract: type[QueryNotificationV1] | type[CancelNotificationV1],
        expected: type[AnyAnswer],
    ) -> Response:
        sender = self._sender(request)
        try:
            asked = contract(version=1, notification=request.match_info["notification"])
        except ValidationError:
            raise of_code(ErrorCode.NOT_FOUND, "no notification has this ID") from None
        answer = await self._context.requests.ask(sender, asked, expected)
        return json_response(answer.encode())

    def _sender(self, request: web.Request) -> str:
        values = request.headers.getall("Authorization", ())
        key = bearer_of(values[0]) if len(values) == 1 else None
        name = None if key is None else name_of(key, self._context.settings.api_keys)
        if name is None:
            raise HttpRefusal(
                HTTPStatus.UNAUTHORIZED,
                ErrorCode.UNAUTHENTICATED,
                "send a valid API key: Authorization: Bearer …",
                errno=BAD_AUTHORIZATION,
                challenge="Bearer",
            )
        sender = api_key_sender(name)
        self._context.limit_sender(sender)
        return sender


def _refuse_encoded(request: web.Request) -> None:
    """Raises HttpRefusal (415) for a compressed body: its size would not be bounded."""
    for value in request.headers.getall("Content-Encoding", ()):
        if value.strip().lower() not in ("", "identity"):
            raise HttpRefusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                ErrorCode.INVALID,
                "send the JSON as it is, without Content-Encoding",
                field="Content-Encoding",
            )


def _read_send(body: bytes, *, new_id: str) -> SendNotificationV1:
    """Decode a ``notification.send`` as over the broker; version and ID may be omitted."""
    try:
        value = from_json(without_bom(body), allow_inf_nan=False)
    except ValueError:
        value = None
    if isinstance(value, dict):
        defaults: dict[str, Any] = {"version": 1, "notification": new_id}
        body = to_json(defaults | value)
    try:
        asked = parse_request("notification.send", body)
    except Refusal as refused:
        raise of_code(refused.code, refused.message, field=refused.field) from None
    if not isinstance(asked, SendNotificationV1):
        raise AssertionError("the routing key names the contract")
    return asked
