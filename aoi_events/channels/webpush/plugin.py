"""The plug-in of the Web Push channel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aoi_events.channels.base.http.plugin import HttpPlugin
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.channels.webpush.offer import checked
from aoi_events.channels.webpush.settings import WebPushSettings
from aoi_events.channels.webpush.size import largest_content, measure
from aoi_events.domain.clients.channels import ChannelTraits, Parameters
from aoi_events.errors import ConfigurationError
from aoi_events.ports.channel import ChannelPlugin, Confirming, Offered, OfferParameters

if TYPE_CHECKING:
    from aoi_events.channels.webpush.channel import WebPushChannel

VAPID_KEY: Final = "vapid_key"
"""The parameter in the answer to an activation that contains our public key."""


class WebPushPlugin(HttpPlugin):
    """See :class:`aoi_events.ports.channel.ChannelPlugin`.

    A device offers a subscription that it made at another push service with our public key as its
    ``applicationServerKey``: ``endpoint``, ``p256dh`` and ``auth``.
    """

    type = "webpush"
    settings_model = WebPushSettings

    def traits(self, settings: OutgoingSettings) -> ChannelTraits:
        """As any such channel, but for content that must fit one push."""
        traits = super().traits(settings)
        return replace(traits, largest_content=largest_content(), measure=measure)

    def offer(self, parameters: OfferParameters, settings: WebPushSettings) -> Offered:
        """The subscription, normalised. Raises Refusal (invalid)."""
        return checked(self.type, parameters, settings)

    def confirming(self, settings: WebPushSettings) -> Confirming:
        """A function that adds our public key, so that a device sees when it must subscribe anew.

        Raises ConfigurationError when the public key is not set.
        """
        public = settings.application_server_key
        if public is None:
            raise _no_key("PUBLIC_KEY", "activation")

        def confirm(client: str, parameters: Parameters) -> Parameters:
            return {VAPID_KEY: public}

        return confirm

    async def connect(self, settings: WebPushSettings) -> WebPushChannel:
        """The sender. Raises ConfigurationError when the private key is not set."""
        # Only the worker that sends loads the HTTP client.
        from aoi_events.channels.webpush.channel import WebPushChannel

        key = settings.signing
        if key is None:
            raise _no_key("PRIVATE_KEY", "webpush")
        return WebPushChannel(self.type, settings, key, clock=self._clock, resolver=self._resolver)


def _no_key(name: str, worker: str) -> ConfigurationError:
    return ConfigurationError(
        f"Web Push is enabled without a key: set AOI_CHANNELS__WEBPUSH__{name} for the worker "
        f"{worker} (`aoi keys vapid` makes a pair)"
    )


plugin: Final[ChannelPlugin] = WebPushPlugin()
