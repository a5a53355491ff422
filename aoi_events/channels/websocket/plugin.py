"""The plug-in of the WebSocket channel.

The channel is connection-oriented: its deliveries go to the gateway node that has the device's
connection. So there is no sender (no ``channel.py``), no address to prove, and nothing to offer but
the channel itself. Whether the device is connected is presence, which the activation worker stores
separately.
"""

from __future__ import annotations

from typing import Final

from aoi_events.channels.websocket.offer import checked
from aoi_events.channels.websocket.settings import WebSocketSettings
from aoi_events.contracts.content import MAX_CONTENT
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.ports.channel import ChannelPlugin, Offered, OfferParameters


class WebSocketPlugin(ChannelPlugin):
    """See :class:`aoi_events.ports.channel.ChannelPlugin`."""

    type = "websocket"
    settings_model = WebSocketSettings

    def traits(self, settings: WebSocketSettings) -> ChannelTraits:
        """Connection-oriented; takes content of any size; nothing must be proved."""
        return ChannelTraits(
            type=self.type,
            connection_oriented=True,
            ack_within=settings.ack_within,
            largest_content=MAX_CONTENT,
            cost=settings.cost,
        )

    def offer(self, parameters: OfferParameters, settings: WebSocketSettings) -> Offered:
        """An offer without parameters. Raises Refusal (invalid) for any other."""
        return checked(self.type, parameters)

    def configured(self, settings: WebSocketSettings) -> bool:
        """Whether the operator left the channel enabled."""
        return settings.enabled

    async def connect(self, settings: WebSocketSettings) -> None:
        """None: devices connect to a gateway."""


plugin: Final[ChannelPlugin] = WebSocketPlugin()
