"""Web Push: sending a message to a subscription, and withdrawing it (RFC 8030, 8291, 8292)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from aoi_events.contracts.answers import (
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
)
from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.requests import (
    CancelNotificationV1,
    QueryNotificationV1,
    SendNotificationV1,
)
from aoi_events.contracts.senders import ANONYMOUS, is_spoken_for, vapid_sender
from aoi_events.endpoint.bodies import read_body
from aoi_events.endpoint.context import EndpointContext
from aoi_events.endpoint.headers import key_reused, read_encryption, read_headers, reuses_key
from aoi_events.endpoint.refusals import of_code
from aoi_events.endpoint.responses import Response
from aoi_events.endpoint.vapid import invalid, missing, proved_key
from aoi_events.errors import ErrorCode

PUSH_PATH: Final = "/wpush/v1/{token}"
MESSAGE_PATH: Final = "/message/{message}"

_TOKEN: Final = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
_MESSAGE: Final = re.compile(r"(wp-[0-9a-f]{32})(?:\.([A-Za-z0-9_-]{87}))?", re.ASCII)


class WebPush:
    """The handlers of Web Push: push resources of tokens, and message resources."""

    def __init__(self, context: EndpointContext) -> None:
        self._context = context

    async def send(self, request: web.Request) -> Response:
        """``POST`` to a push resource: answer 201 when the workers have accepted the message."""
        context = self._context
        body = await read_body(request, MAX_CONTENT, within=context.settings.body_within)
        token = request.match_info["token"]
        if _TOKEN.fullmatch(token) is None:
            raise of_code(ErrorCode.TOKEN_FORGED, "no subscription has this URL")

        def values(name: str) -> Sequence[str]:
            return request.headers.getall(name, ())

        headers = read_headers(values)
        key = proved_key(
            values("Authorization"),
            values("Crypto-Key"),
            origin=context.origin,
            now=context.clock.now().timestamp(),
        )
        if key is not None:
            context.limit_sender(vapid_sender(key))
        content = Content.of(body)
        if body:
            encryption = read_encryption(values)
            if key is not None and reuses_key(encryption, body, key):
                raise key_reused()
            content = content.model_copy(update={"encryption": encryption})
        notification = f"wp-{context.dice.token_hex(16)}"
        await self._deliver(
            key,
            SendNotificationV1(
                version=1,
                notification=notification,
                tokens=(token,),
                content=content,
                ttl=headers.ttl,
                urgency=headers.urgency,
                topic=headers.topic,
            ),
        )
        message = notification if key is None else f"{notification}.{key}"
        location = f"{context.origin}/message/{message}"
        return Response(
            status=HTTPStatus.CREATED, headers={"Location": location, "TTL": str(headers.ttl)}
        )

    async def _deliver(self, key: str | None, request: SendNotificationV1) -> None:
        sender = ANONYMOUS if key is None else vapid_sender(key)
        accepted = await self._context.requests.ask(sender, request, NotificationAcceptedV1)
        for rejected in accepted.rejected:
            if rejected.code == ErrorCode.NOT_ALLOWED:
                raise (
                    missing()
                    if key is None
                    else invalid("this subscription was made for another application server")
                )
            raise of_code(rejected.code, rejected.message)

    async def withdraw(self, request: web.Request) -> Response:
        """``DELETE`` of a message resource: withdraw the message; its URL is the permission."""
        match = _MESSAGE.fullmatch(request.match_info["message"])
        sender = "" if match is None else vapid_sender(match[2]) if match[2] else ANONYMOUS
        if match is None or not is_spoken_for(sender):
            raise of_code(ErrorCode.NOT_FOUND, "no message has this URL")
        requests, name = self._context.requests, match[1]
        # Check first that it exists: the workers remember the withdrawal of an unknown ID, and
        # anybody may guess URLs.
        asked = QueryNotificationV1(version=1, notification=name)
        await requests.ask(sender, asked, NotificationStatusV1)
        withdrawal = CancelNotificationV1(version=1, notification=name)
        answer = await requests.ask(sender, withdrawal, NotificationCancelledV1)
        if not answer.cancelled:
            raise of_code(
                ErrorCode.EXPIRED, "the message was delivered, replaced, or has expired already"
            )
        return Response(status=HTTPStatus.NO_CONTENT)
