"""The plug-in of the WebSocket channel.

It is connection-oriented: its deliveries go to the gateway node that holds the device's connection,
so there is nothing to connect to, no address to prove, and nothing for a device to offer but the
channel itself. Whether the device *is* connected is presence, which the activation keeps apart.
"""

from __future__ import annotations

from typing import Any, Final

from aoi_events.channels.base.offers import only
from aoi_events.channels.websocket.settings import WebSocketSettings
from aoi_events.contracts.content import MAX_CONTENT
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.ports.channel import ChannelPlugin, Offered, OfferParameters, SettingsModel

__all__ = ["WebSocketChannel", "plugin"]


class WebSocketChannel:
    """See :class:`aoi_events.ports.channel.ChannelPlugin`."""

    @property
    def type(self) -> str:
        """``websocket``."""
        return "websocket"

    @property
    def settings_model(self) -> SettingsModel:
        """Section ``channels.websocket`` of the settings."""
        return WebSocketSettings

    def traits(self, settings: Any) -> ChannelTraits:
        """Connection-oriented, as large as content may be, nothing to prove."""
        checked = WebSocketSettings.model_validate(settings)
        return ChannelTraits(
            type=self.type,
            connection_oriented=True,
            ack_within=checked.ack_within,
            largest_content=MAX_CONTENT,
            cost=checked.cost,
        )

    def offer(self, parameters: OfferParameters, settings: Any) -> Offered:
        """An offer without parameters. Raises Refusal (invalid) for any other."""
        only(self.type, parameters)
        return Offered(parameters={})

    def confirming(self, settings: Any) -> None:
        """Nothing more to tell."""

    def configured(self, settings: Any) -> bool:
        """Whether devices may select it here."""
        return WebSocketSettings.model_validate(settings).enabled

    async def connect(self, settings: Any) -> None:
        """None: devices connect to a gateway."""


plugin: Final[ChannelPlugin] = WebSocketChannel()
