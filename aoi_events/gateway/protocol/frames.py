"""Decodes the frames of ``aoi.v1`` that devices send, and encodes those that they receive."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from aoi_events.contracts.answers import RefusedV1
from aoi_events.contracts.device import (
    DEVICE_REQUESTS,
    MAX_FRAME,
    AnswerFrame,
    DeviceFrame,
    RequestFrame,
    device_frames,
)
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.faults import in_words
from aoi_events.contracts.identifiers import ClientId
from aoi_events.contracts.json_bodies import deeper_than, without_bom
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.gateway.protocol.close_reasons import shortened

MAX_DEPTH: Final = 16
"""Levels to which lists and objects of a request's body may be nested."""


def read_frame(data: str | bytes) -> DeviceFrame:
    """Decode the frame in ``data``. Raises Refusal (too_large, malformed, invalid).

    The parser bounds the depth of nesting; the bound of a request's body is narrower.
    """
    check_size(data)
    try:
        return device_frames.validate_json(without_bom(data))
    except ValidationError as error:
        raise undecodable(error) from None


def check_size(data: str | bytes) -> None:
    """Raises Refusal (too_large) for more octets than a frame may have."""
    if len(data) > MAX_FRAME or (isinstance(data, str) and len(data.encode()) > MAX_FRAME):
        raise Refusal(ErrorCode.TOO_LARGE, f"a frame may have {MAX_FRAME} octets")


def undecodable(error: ValidationError) -> Refusal:
    """The refusal of a frame that could not be decoded (malformed, invalid)."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Refusal(ErrorCode.MALFORMED, f"the frame {in_words(first)}")
    # The first part of the location is the type of the frame, which helps the reader, too.
    field = ".".join(str(part) for part in first["loc"])
    return Refusal(ErrorCode.INVALID, shortened(in_words(first)), field=shortened(field) or None)


def request_body(frame: RequestFrame, client: ClientId | None) -> bytes:
    """Encode the body that the workers get for a request of ``client`` (None: not registered).

    The gateway checks only which client asks, and that the body is plain JSON; the worker checks
    the body against its contract. Raises Refusal.
    """
    if frame.name not in DEVICE_REQUESTS:
        raise Refusal(
            ErrorCode.UNKNOWN_REQUEST,
            f"a device may request {', '.join(sorted(DEVICE_REQUESTS))}",
            field="name",
        )
    if deeper_than(frame.body, MAX_DEPTH):
        raise Refusal(
            ErrorCode.MALFORMED, f"the body is nested deeper than {MAX_DEPTH} levels", field="body"
        )
    if "secret" in frame.body:
        raise Refusal(
            ErrorCode.INVALID,
            "leave the secret out; the hello has proved it",
            field="body.secret",
        )
    if frame.name == "client.register":
        return _encoded(frame.body)
    if client is None:
        raise Refusal(ErrorCode.UNAUTHENTICATED, "say hello before any other request")
    if frame.body.get("client", client) != client:
        raise Refusal(
            ErrorCode.NOT_ALLOWED,
            "this connection belongs to another client; leave client out, or set your own",
            field="body.client",
        )
    return _encoded({**frame.body, "client": client})


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise Refusal(
            ErrorCode.MALFORMED, "NaN and infinity are no JSON numbers", field="body"
        ) from None


def answer_frame(request: int, name: str | None, body: bytes) -> bytes:
    """Encode a worker's answer as a frame; as a refusal when it is no answer for devices."""
    try:
        frame = AnswerFrame(id=request, name=name or "", body=from_json(body)).encode()
    except ValueError:
        name = None
    if not name:
        return refusal_frame(request, ErrorCode.INTERNAL, "the server sent no readable answer")
    if len(frame) > MAX_FRAME:
        return refusal_frame(
            request, ErrorCode.TOO_LARGE, f"the answer does not fit a frame of {MAX_FRAME} octets"
        )
    return frame


def refusal_frame(request: int, code: ErrorCode, message: str, field: str | None = None) -> bytes:
    """Encode the answer to a request that the gateway itself refuses."""
    refused = RefusedV1(code=code, message=message, field=field)
    return AnswerFrame(
        id=request, name="refused.v1", body=refused.model_dump(mode="json", exclude_none=True)
    ).encode()


def delivery_frame(item: DeliverItem) -> bytes:
    """Encode a step of a delivery as a NotificationFrame or WakeUpFrame."""
    # Every value was validated under the same constraints when the item came from the broker.
    # Building the frame's model would validate it again, and take a quarter of the gateway's time.
    frame: dict[str, Any] = {
        "type": "wake_up" if item.wake_up else "notification",
        "delivery": item.delivery,
        "attempt": item.attempt,
        "notification": item.notification,
        "token": item.token,
        "application": item.application,
        "instance": item.instance,
        "urgency": item.urgency,
        "expires_at": item.expires_at,
    }
    if not item.wake_up:
        frame["content"] = item.content
    return to_json(frame, exclude_none=True)
