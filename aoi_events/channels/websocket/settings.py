"""Settings of the WebSocket channel; the gateway has settings of its own."""

from __future__ import annotations

from aoi_events.platform.settings import Cost, Seconds, Section


class WebSocketSettings(Section):
    """How long a connected device may take, and what a notification over a connection costs."""

    enabled: bool = True
    """Whether devices may select this channel here."""
    ack_within: Seconds = 10.0
    """Seconds that a connected device may take to acknowledge; then the next channel is tried. Its
    connection stays, until the gateway's pings find it gone. More than apps may take
    (``handle_within`` of the AOI Client library, 8 s by default)."""
    cost: Cost = 0.0
    """Cost of one message, in any unit that the channels share."""
