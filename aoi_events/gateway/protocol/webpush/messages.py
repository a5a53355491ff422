"""Decodes the messages of ``push-notification`` that browsers send, and encodes those they get."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import base64url
from aoi_events.contracts.json_bodies import without_bom
from aoi_events.contracts.webpush import BrowserMessage, PingMessage, browser_messages
from aoi_events.gateway.protocol.frames import check_size, undecodable

PONG: Final = b"{}"
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def read_message(data: str | bytes) -> BrowserMessage:
    """Decode the message in ``data``. Raises Refusal (too_large, malformed, invalid)."""
    check_size(data)
    data = without_bom(data)
    try:
        return browser_messages.validate_json(data)
    except ValidationError as error:
        if _is_empty(data):
            return PingMessage()
        raise undecodable(error) from None


def _is_empty(data: str | bytes) -> bool:
    try:
        return bool(from_json(data) == {})
    except ValueError:
        return False


def is_channel_id(text: str) -> bool:
    """Whether ``text`` names a subscription: a UUID in lower case, with hyphens."""
    return _UUID.fullmatch(text) is not None


def notification_message(item: DeliverItem) -> bytes:
    """Encode a step of a delivery as a NotificationMessage.

    ``version`` is the delivery's ID without the attempt, so that a browser recognizes a repeated
    notification.
    """
    # Built without the model, for the same reason as delivery_frame.
    message: dict[str, Any] = {
        "messageType": "notification",
        "channelID": item.instance,
        "version": item.delivery,
    }
    encryption = item.content.encryption
    if item.content.data and encryption is not None:
        message["data"] = _base64url(item.content)
        headers: dict[str, str | None] = {"encoding": encryption.coding}
        if encryption.coding == "aesgcm":
            headers["encryption"] = encryption.encryption
            headers["crypto_key"] = encryption.crypto_key
        message["headers"] = headers
    return to_json(message)


def _base64url(content: Content) -> str:
    if content.encoding == "base64":
        return base64url(content.data)
    return urlsafe_b64encode(content.data.encode()).decode().rstrip("=")
