"""The plug-in of the webhook channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aoi_events.channels.base.http.plugin import HttpPlugin
from aoi_events.channels.webhook.offer import URL, checked
from aoi_events.channels.webhook.settings import WebhookSettings
from aoi_events.channels.webhook.signing import secret_of
from aoi_events.domain.clients.channels import Parameters
from aoi_events.errors import ConfigurationError
from aoi_events.ports.channel import ChannelPlugin, Confirming, Offered, OfferParameters

if TYPE_CHECKING:
    from aoi_events.channels.webhook.channel import WebhookChannel

SECRET: Final = "secret"  # noqa: S105 - the name of a parameter
"""The parameter in the answer to an activation that contains the secret of the signatures."""


class WebhookPlugin(HttpPlugin):
    """See :class:`aoi_events.ports.channel.ChannelPlugin`.

    A device offers the ``url`` of a receiver of its own. The answer to the activation contains
    ``secret``, with which every request is signed, that of the challenge included.
    """

    type = "webhook"
    settings_model = WebhookSettings

    def offer(self, parameters: OfferParameters, settings: WebhookSettings) -> Offered:
        """The offer with its URL normalised. Raises Refusal (invalid)."""
        return checked(self.type, parameters, settings)

    def confirming(self, settings: WebhookSettings) -> Confirming:
        """A function that adds the secret of the device's own webhook.

        Raises ConfigurationError when the signing key is not set.
        """
        key = _key(settings)

        def confirm(client: str, parameters: Parameters) -> Parameters:
            return {SECRET: secret_of(key, client, str(parameters[URL]))}

        return confirm

    async def connect(self, settings: WebhookSettings) -> WebhookChannel:
        """The sender. Raises ConfigurationError when the signing key is not set."""
        # Only the worker that sends loads the HTTP client.
        from aoi_events.channels.webhook.channel import WebhookChannel

        return WebhookChannel(
            self.type, settings, _key(settings), clock=self._clock, resolver=self._resolver
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
