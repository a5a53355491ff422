"""The sender of the Web Push channel: encrypted pushes (RFC 8030, RFC 8291) with VAPID."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from aoi_events.channels.base.http.answers import FinalStatuses
from aoi_events.channels.base.http.channel import HttpChannel, Post
from aoi_events.channels.base.http.pushes import pushed
from aoi_events.channels.base.requests import CannotSend, Item
from aoi_events.channels.webpush.settings import WebPushSettings
from aoi_events.channels.webpush.size import largest_content, measure
from aoi_events.channels.webpush.subscription import ENDPOINT, encrypted, keys_of
from aoi_events.channels.webpush.vapid import VapidKey, authorization
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import Urgency

_FINAL: Final = FinalStatuses(gone=frozenset({404, 410}), rejected=frozenset({413}))
"""404 or 410: the subscription has ended. 413: the push is too large (RFC 8030, sections 7.2
and 7.3). Other refusals, of our VAPID key for example, may pass."""
_LONGEST_TTL: Final = 2**31 - 1


class WebPushChannel(HttpChannel[WebPushSettings, VapidKey]):
    """Posts notifications and challenges to the push services that devices subscribed with.

    The key is the VAPID key of the installation.
    """

    url_parameter: ClassVar[str] = ENDPOINT
    final: ClassVar[FinalStatuses] = _FINAL

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
        if octets > largest_content():
            raise CannotSend(f"{octets} octets of content do not fit {largest_content()}")
    return pushed(item, with_names=False).encode()
