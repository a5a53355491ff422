"""What both sides of the benchmark take and publish, and the queues they use."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

IN_QUEUE: Final = "bench.in"
OUT_QUEUE: Final = "bench.out"
PREFETCH: Final = 200


class HopIn(BaseModel):
    """A request of about 300 octets."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: int
    notification: str
    token: str
    content: str
    ttl: int
    urgency: str


class HopOut(BaseModel):
    """What is published for it."""

    model_config = ConfigDict(frozen=True, strict=True)

    notification: str
    accepted: bool
    content: str


def request_body(number: int) -> bytes:
    """The body of one request: 300 octets."""
    body = HopIn(
        version=1,
        notification=f"n-{number:08d}",
        token="k1." + "t" * 70,
        content="",
        ttl=86_400,
        urgency="normal",
    )
    filled = body.model_copy(update={"content": "x" * (300 - len(body.model_dump_json()))})
    return filled.model_dump_json().encode()
