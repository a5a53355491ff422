"""Values that tests of the gateway are made of; their times are those of the machine's clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from aoi_events.contracts.answers import ClientConnectedV1
from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import base32_id

CLIENT = "cli_" + "a" * 26
OTHER_CLIENT = "cli_" + "b" * 26
SECRET = "s" * 42 + "w"
SESSION = "0123456789abcdef"


def delivery_id(number: int) -> str:
    """The ID of the delivery with that number."""
    return base32_id("dlv_", number.to_bytes(16, "big"))


def deliver(number: int = 1, *, now: datetime | None = None, **changes: Any) -> DeliverItem:
    """A step of the delivery with that number, for :data:`CLIENT` under epoch 1.

    It was accepted now: by the machine's clock, or the test's own.
    """
    accepted_at = now or datetime.now(UTC)
    values: dict[str, Any] = {
        "delivery": delivery_id(number),
        "notification": f"n-{number}",
        "client": CLIENT,
        "channel": "websocket",
        "step": 0,
        "attempt": 1,
        "token": "k1." + "T" * 40,
        "fingerprint": "fp_" + "c" * 13,
        "application": "mail",
        "instance": "default",
        "content": Content.of(f"content {number}"),
        "urgency": "normal",
        "accepted_at": accepted_at,
        "expires_at": accepted_at + timedelta(hours=1),
        "session": SESSION,
        "epoch": 1,
    }
    return DeliverItem.model_validate({**values, **changes})


def connected(epoch: int = 1, **changes: Any) -> ClientConnectedV1:
    """The answer that opens a session."""
    return ClientConnectedV1.model_validate(
        {"client": CLIENT, "epoch": epoch, "sequence": 7, **changes}
    )


def hello(client: str = CLIENT, secret: str = SECRET) -> str:
    """A hello frame."""
    return json.dumps({"type": "hello", "client": client, "secret": secret})


def request(name: str, number: int = 1, **body: Any) -> str:
    """A request frame."""
    return json.dumps({"type": "request", "id": number, "name": name, "body": body})


def ack(number: int = 1, **changes: Any) -> str:
    """An ack frame."""
    return json.dumps({"type": "ack", "delivery": delivery_id(number), **changes})
