"""AMQP message IDs: unique for each publish, with the time of the publish.

RabbitMQ keeps no time of a message that is finer than a second, and a header with one costs a
table in every message; the ID must be made anyway.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from itertools import count
from typing import Final

_START: Final = "aoi-"
_DIGITS: Final = 11
"""Hexadecimal digits of milliseconds since 1970: enough until 2527."""
_TIME: Final = slice(len(_START), len(_START) + _DIGITS)


class MessageIds:
    """Makes the IDs of one connection: ``aoi-<milliseconds>-<connection>-<number>``."""

    def __init__(self) -> None:
        self._connection = secrets.token_hex(6)
        self._numbers = count(1)

    def now(self) -> Iterator[str]:
        """An endless iterator of IDs with the time now."""
        start = f"{_START}{int(time.time() * 1_000):0{_DIGITS}x}-{self._connection}-"
        while True:
            yield f"{start}{next(self._numbers)}"


def published_at(message_id: str | None) -> float | None:
    """When a message was published, in seconds since 1970; None where its ID does not contain that.

    A sender may have written anything there: nothing but statistics may depend on it.
    """
    if message_id is None or not message_id.startswith(_START):
        return None
    try:
        return int(message_id[_TIME], 16) / 1_000
    except ValueError:
        return None
