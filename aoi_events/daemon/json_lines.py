"""The format of the app protocol: one JSON object per line, in UTF-8."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import from_json

from aoi_events.contracts.apps import APP_REQUESTS, AppRequest, ClientFrame
from aoi_events.contracts.json_bodies import diagnose, without_bom
from aoi_events.errors import ErrorCode, Refusal


def encode_line(value: AppRequest | ClientFrame) -> bytes:
    """The line of a request or of a frame, with its end."""
    return value.encode() + b"\n"


def decode_request(line: bytes) -> AppRequest:
    """The request in a line of an app. Raises Refusal for any other octets, and nothing else."""
    line = without_bom(line)
    try:
        value = from_json(line, allow_inf_nan=False, cache_strings=False)
    except ValueError:
        # The message of the parser could quote the line.
        raise Refusal(
            ErrorCode.MALFORMED, "the line is not JSON (RFC 8259) in UTF-8; send one object a line"
        ) from None
    if not isinstance(value, dict):
        raise Refusal(ErrorCode.MALFORMED, "the line must be a JSON object")
    kind = value.get("type")
    model = APP_REQUESTS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise Refusal(
            ErrorCode.UNKNOWN_REQUEST,
            f"type must be one of: {', '.join(APP_REQUESTS)}",
            field="type",
        )
    try:
        return model.decode(line)
    except ValidationError as error:
        raise diagnose(line, error) from None
