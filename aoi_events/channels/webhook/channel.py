"""The sender of the webhook channel: signed requests after Standard Webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from aoi_events.channels.base.http.channel import HttpChannel, Post
from aoi_events.channels.base.http.pushes import pushed
from aoi_events.channels.base.requests import Item
from aoi_events.channels.webhook.offer import URL
from aoi_events.channels.webhook.settings import WebhookSettings
from aoi_events.channels.webhook.signing import secret_of, signed
from aoi_events.contracts.envelopes import ChallengeItem

_NOT_TRUSTED_YET: Final = frozenset({401, 403})
"""Statuses of a receiver that got the challenge before its device got the secret."""


class WebhookChannel(HttpChannel[WebhookSettings, bytes]):
    """Posts notifications and challenges to the receivers of devices, signed with their secrets.

    The key is that from which the secrets are derived.
    """

    url_parameter: ClassVar[str] = URL

    def compose(self, item: Item, url: str, now: datetime) -> Post:
        """The signed request; a repeat of it has the same ``webhook-id``."""
        body = pushed(item, with_names=True).encode()
        secret = secret_of(self._key, item.client, url)
        if isinstance(item, ChallengeItem):
            name, not_ready = item.id, _NOT_TRUSTED_YET
        else:
            name, not_ready = item.delivery, frozenset()
        headers = {"Content-Type": "application/json", **signed(secret, name, body, now)}
        return Post(url, body, headers, not_ready)
