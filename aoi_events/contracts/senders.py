"""Names of senders that are not broker users: those on whose behalf an endpoint sends.

The sender of a request is the broker user that published it, which the broker validated. An
endpoint (a broker user that the settings name) sends for others: its header :data:`SENDER_HEADER`
names one of the three forms below. No broker user has such a name: only endpoints can claim it.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from aoi_events.contracts.identifiers import SenderKey

SENDER_HEADER: Final = "aoi-sender"
"""The header that names the sender of a request that an endpoint passes on."""

SENDER_REQUESTS: Final = frozenset(
    {"notification.send", "notification.cancel", "notification.status"}
)
"""The requests that an endpoint may pass on for another sender."""

ANONYMOUS: Final = "webpush"
"""A push without VAPID: good for tokens that are bound to no key."""

_VAPID: Final = "vapid:"
_API_KEY: Final = "key:"

KEY_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The form of a :data:`KeyName`."""

KeyName = Annotated[str, Field(pattern=f"^{KEY_NAME}$")]
"""The operator's name for an API key."""

_key = TypeAdapter(SenderKey).validator
_name = re.compile(KEY_NAME, re.ASCII)


def vapid_sender(key: str) -> str:
    """The sender that proved this P-256 key (RFC 8292)."""
    return _VAPID + key


def api_key_sender(name: str) -> str:
    """The sender with the API key of this name."""
    return _API_KEY + name


def is_reserved(sender: str) -> bool:
    """Whether the name has one of these forms, so that no broker user may have it."""
    return sender == ANONYMOUS or sender.startswith((_VAPID, _API_KEY))


def is_spoken_for(sender: str) -> bool:
    """Whether the name is a complete name of one of these forms."""
    if sender.startswith(_VAPID):
        return _key.isinstance_python(sender.removeprefix(_VAPID))
    if sender.startswith(_API_KEY):
        return _name.fullmatch(sender.removeprefix(_API_KEY)) is not None
    return sender == ANONYMOUS
