"""Notification channels as the server selected them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aoi_events.contracts.base import Instant, Tolerant
from aoi_events.contracts.identifiers import ChannelType


class SelectedChannel(Tolerant):
    """A channel that the server selected. State *pending*: it waits for ``channel.confirm``."""

    type: ChannelType
    state: Literal["active", "pending"]
    parameters: dict[str, str | int | bool] = Field(default_factory=dict)
    proved_until: Instant | None = None
