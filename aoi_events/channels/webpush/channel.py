"""The sender of the Web Push channel: encrypted pushes (RFC 8030, RFC 8291) with VAPID."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Final

from aoi_events.channels.base.http.channel import HttpChannel, Post
from aoi_events.channels.base.http.pushes import pushed
from aoi_events.channels.base.requests import CannotSend, Item
from aoi_events.channels.webpush.settings import WebPushSettings
from aoi_events.channels.webpush.subscription import ENDPOINT, encrypted, keys_of
from aoi_events.channels.webpush.vapid import VapidKey, authorization
from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import Urgency, base32_id
from aoi_events.contracts.push import PushedNotification

LARGEST_PLAINTEXT: Final = 3_993
"""Octets that fit the 4,096 which every push service takes (RFC 8291, section 4)."""

_LONGEST_TTL: Final = 2**31 - 1


class WebPushChannel(HttpChannel[WebPushSettings, VapidKey]):
    """Posts notifications and challenges to the push services that devices subscribed with.

    The key is the VAPID key of the installation.
    """

    url_parameter: ClassVar[str] = ENDPOINT

    def compose(self, item: Item, url: str, now: datetime) -> Post:
        """The encrypted push. Raises CannotSend for bad keys, and for content that is too large."""
        keys = keys_of(item.parameters)
        if isinstance(keys, str):
            raise CannotSend(f"the key {keys} of the subscription is invalid", closes_channel=True)
        headers = {
            "Authorization": authorization(self._key, url, self._settings.contact, now),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            **_push_headers(item, now),
        }
        return Post(url, encrypted(_plaintext(item), keys), headers)


def measure(content: Content) -> int:
    """Octets that content takes inside a push: its JSON form, with type and encoding."""
    return len(content.encode())


def _push_headers(item: Item, now: datetime) -> dict[str, str]:
    """TTL, urgency and topic (RFC 8030, sections 5.2 to 5.4)."""
    left = int((item.expires_at - now).total_seconds())
    headers = {"TTL": str(min(max(left, 0), _LONGEST_TTL))}
    if isinstance(item, DeliverItem):
        headers["Urgency"] = item.urgency.value
        if item.topic is not None:
            headers["Topic"] = item.topic
    else:
        headers["Urgency"] = Urgency.HIGH.value  # a person or an app waits for a challenge
    return headers


def _plaintext(item: Item) -> bytes:
    """The plaintext of the push. Raises CannotSend for content that is too large."""
    if isinstance(item, DeliverItem) and not item.wake_up:
        octets = measure(item.content)
        if octets > LARGEST_CONTENT:
            raise CannotSend(f"{octets} octets of content do not fit {LARGEST_CONTENT}")
    return pushed(item, with_names=False).encode()


def _largest_content() -> int:
    """Octets left for content beside the largest possible values of all other fields."""
    empty = Content(data="")
    push = PushedNotification(
        delivery=base32_id("dlv_", bytes(16)),
        attempt=2**31,
        fingerprint=base32_id("fp_", bytes(8)),
        urgency=Urgency.VERY_LOW,
        expires_at=datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
        content=empty,
    )
    return LARGEST_PLAINTEXT - len(push.encode()) + measure(empty)


LARGEST_CONTENT: Final = _largest_content()
"""Octets of content that fit one push, as :func:`measure` counts them."""
