"""Parses a request from bytes, or refuses it with a helpful error: total, bounded, and fast.

The good case is one call into pydantic's parser. Only when that fails is the body read a second
time to find out which of the stable codes fits. A name that stands twice in an object counts with
its last value, everywhere alike: nothing of ours reads the body by other means.
"""

from __future__ import annotations

from pydantic import ValidationError

from aoi_events.contracts.base import MAX_BODY
from aoi_events.contracts.json_bodies import diagnose, without_bom
from aoi_events.contracts.requests import REQUESTS, AnyRequest
from aoi_events.errors import ErrorCode, Refusal


def parse_request(routing_key: str, body: bytes) -> AnyRequest:
    """Parse ``body`` as the request of its routing key on ``aoi.requests``.

    Raises Refusal, and nothing else, for every invalid request: too_large, unknown_request,
    malformed, version_unsupported, or invalid with the dotted path of the field. Its message never
    repeats a value of the body.
    """
    if len(body) > MAX_BODY:
        raise Refusal(
            ErrorCode.TOO_LARGE,
            f"the body has {len(body)} octets; a request may have {MAX_BODY}: split the tokens, "
            "or send a reference to the content",
        )
    model = REQUESTS.get(routing_key)
    if model is None:
        raise Refusal(
            ErrorCode.UNKNOWN_REQUEST,
            f"no request has this routing key; use one of: {', '.join(sorted(REQUESTS))}",
        )
    body = without_bom(body)
    try:
        return model.decode(body)
    except ValidationError as error:
        # Not chained: pydantic's error holds the whole body.
        raise diagnose(body, error) from None
