"""The plug-in of the Web Push channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aoi_events.channels.webpush.offer import checked
from aoi_events.channels.webpush.settings import WebPushSettings
from aoi_events.channels.webpush.size import LARGEST_CONTENT, measure
from aoi_events.domain.clients.channels import ChannelTraits, Parameters
from aoi_events.errors import ConfigurationError
from aoi_events.ports.channel import ChannelPlugin, Confirming, Offered, OfferParameters
from aoi_events.ports.clock import Clock

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

    from aoi_events.channels.webpush.channel import WebPushChannel

VAPID_KEY: Final = "vapid_key"
"""The parameter in the answer to an activation that contains our public key."""


class WebPushPlugin(ChannelPlugin):
    """See :class:`aoi_events.ports.channel.ChannelPlugin`.

    A device offers a subscription that it made at another push service with our public key as its
    ``applicationServerKey``: ``endpoint``, ``p256dh`` and ``auth``. ``clock`` and ``resolver`` are
    for tests.
    """

    type = "webpush"
    settings_model = WebPushSettings

    def __init__(
        self, *, clock: Clock | None = None, resolver: AbstractResolver | None = None
    ) -> None:
        self._clock = clock
        self._resolver = resolver

    def traits(self, settings: WebPushSettings) -> ChannelTraits:
        """Connectionless; takes content that fits one push; its endpoint must be proved."""
        return ChannelTraits(
            type=self.type,
            connection_oriented=False,
            ack_within=settings.ack_within,
            largest_content=LARGEST_CONTENT,
            needs_proof=True,
            cost=settings.cost,
            measure=measure,
        )

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

    def configured(self, settings: WebPushSettings) -> bool:
        """Whether the operator enabled Web Push."""
        return settings.enabled

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
