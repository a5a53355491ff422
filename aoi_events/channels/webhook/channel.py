"""The sender of the webhook channel: signed requests after Standard Webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from aoi_events.channels.base.http.answers import FinalStatuses
from aoi_events.channels.base.http.channel import HttpChannel, Post
from aoi_events.channels.base.http.pushes import pushed
from aoi_events.channels.base.requests import Item
from aoi_events.channels.webhook.offer import URL
from aoi_events.channels.webhook.settings import WebhookSettings
from aoi_events.channels.webhook.signing import secret_of, signed
from aoi_events.contracts.envelopes import ChallengeItem

_FINAL: Final = FinalStatuses(gone=frozenset({410}))
"""Standard Webhooks ends a webhook for 410 only. Every other status is a failure that may pass: a
404 or 400 while the receiver is deployed, or a 401 because the challenge came before the secret.
"""


class WebhookChannel(HttpChannel[WebhookSettings, bytes]):
    """Posts notifications and challenges to the receivers of devices, signed with their secrets.

    The key is that from which the secrets are derived.
    """

    url_parameter: ClassVar[str] = URL
    final: ClassVar[FinalStatuses] = _FINAL

    def compose(self, item: Item, url: str, now: datetime) -> Post:
        """The signed request; a repeat of it has the same ``webhook-id``."""
        body = pushed(item, with_names=True).encode()
        secret = secret_of(self._key, item.client, url)
        name = item.id if isinstance(item, ChallengeItem) else item.delivery
        headers = {"Content-Type": "application/json", **signed(secret, name, body, now)}
        return Post(url, body, headers)
