"""The plug-in of the webhook channel."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from aiohttp.abc import AbstractResolver

from aoi_events.channels.base.http.channel import HttpChannel, Post
from aoi_events.channels.base.http.offers import checked_offer
from aoi_events.channels.base.http.pushes import pushed
from aoi_events.channels.base.http.urls import BadUrl, checked_url
from aoi_events.channels.base.requests import CannotSend, Item
from aoi_events.channels.webhook.settings import WebhookSettings
from aoi_events.channels.webhook.signing import secret_of, signed
from aoi_events.contracts.content import MAX_CONTENT
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.domain.clients.channels import ChannelTraits, Parameters
from aoi_events.errors import ConfigurationError
from aoi_events.ports.channel import (
    ChannelPlugin,
    Confirming,
    Offered,
    OfferParameters,
    SettingsModel,
)
from aoi_events.ports.clock import Clock

__all__ = ["URL", "WebhookPlugin", "plugin"]

URL: Final = "url"
"""The parameter that says where requests go."""

SECRET: Final = "secret"  # noqa: S105 - the name of a parameter
"""The parameter in the answer to an activation: what the requests are signed with."""

_NOT_TRUSTED_YET: Final = frozenset({401, 403})
"""A receiver may be challenged before its device was told the secret."""


class WebhookPlugin:
    """See :class:`aoi_events.ports.channel.ChannelPlugin`.

    A device offers the ``url`` of a receiver of its own. The answer to the activation tells it
    ``secret``, with which every request is signed, that of the challenge included. ``clock`` and
    ``resolver`` are for tests.
    """

    def __init__(
        self, *, clock: Clock | None = None, resolver: AbstractResolver | None = None
    ) -> None:
        self._clock = clock
        self._resolver = resolver

    @property
    def type(self) -> str:
        """``webhook``."""
        return "webhook"

    @property
    def settings_model(self) -> SettingsModel:
        """Section ``channels.webhook`` of the settings."""
        return WebhookSettings

    def traits(self, settings: Any) -> ChannelTraits:
        """Connectionless, as large as content may be, its URL to be proved."""
        checked = WebhookSettings.model_validate(settings)
        return ChannelTraits(
            type=self.type,
            connection_oriented=False,
            ack_within=checked.ack_within,
            largest_content=MAX_CONTENT,
            needs_proof=True,
            cost=checked.cost,
        )

    def offer(self, parameters: OfferParameters, settings: Any) -> Offered:
        """A URL in its one spelling. Raises Refusal (invalid) for anything else."""
        checked = WebhookSettings.model_validate(settings)
        url = checked_offer(self.type, parameters, (URL,), URL, checked)
        return Offered(parameters={URL: url}, address=url)

    def confirming(self, settings: Any) -> Confirming:
        """Tells the secret of the device's own webhook."""
        key = _key(WebhookSettings.model_validate(settings))

        def told(client: str, parameters: Parameters) -> Parameters:
            return {SECRET: secret_of(key, client, str(parameters[URL]))}

        return told

    def configured(self, settings: Any) -> bool:
        """Whether devices may select it here."""
        return WebhookSettings.model_validate(settings).enabled

    async def connect(self, settings: Any) -> HttpChannel:
        """The sender. Raises ConfigurationError when the signing key is not set."""
        checked = WebhookSettings.model_validate(settings)
        key = _key(checked)

        def compose(item: Item, now: datetime) -> Post:
            try:
                url = checked_url(str(item.parameters.get(URL, "")), checked)
            except BadUrl as error:
                raise CannotSend(str(error), closes_channel=True) from None
            body = pushed(item, with_names=True).encode()
            name = item.delivery if isinstance(item, DeliverItem) else item.id
            headers = signed(secret_of(key, item.client, url), name, body, now)
            return Post(url, body, {"Content-Type": "application/json", **headers})

        return HttpChannel(
            self.type,
            checked,
            compose,
            address=URL,
            unready=_NOT_TRUSTED_YET,
            clock=self._clock,
            resolver=self._resolver,
        )


def _key(settings: WebhookSettings) -> bytes:
    key = settings.signing_octets
    if key is None:
        raise ConfigurationError(
            "webhooks are enabled without a key: set AOI_CHANNELS__WEBHOOK__SIGNING_KEY for the "
            "workers activation and webhook (`aoi keys webhook` makes one)"
        )
    return key


plugin: Final[ChannelPlugin] = WebhookPlugin()
