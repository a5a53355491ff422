"""Base of the plug-ins of channels that send HTTP requests to URLs that devices name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.contracts.content import MAX_CONTENT
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.ports.channel import ChannelPlugin
from aoi_events.ports.clock import Clock

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver


class HttpPlugin(ChannelPlugin):
    """A plug-in whose settings are :class:`OutgoingSettings`, and more.

    ``clock`` and ``resolver`` are for tests.
    """

    def __init__(
        self, *, clock: Clock | None = None, resolver: AbstractResolver | None = None
    ) -> None:
        self._clock = clock
        self._resolver = resolver

    def traits(self, settings: OutgoingSettings) -> ChannelTraits:
        """Connectionless; takes content of any size; its URL must be proved."""
        return ChannelTraits(
            type=self.type,
            connection_oriented=False,
            ack_within=settings.ack_within,
            largest_content=MAX_CONTENT,
            needs_proof=True,
            cost=settings.cost,
        )

    def configured(self, settings: OutgoingSettings) -> bool:
        """Whether the operator enabled the channel."""
        return settings.enabled
