"""The plug-in of the WebSocket channel."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from aoi_events.channels.websocket import WebSocketSettings, plugin
from aoi_events.contracts.content import MAX_CONTENT
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.errors import ErrorCode, Refusal


def test_it_is_found_by_its_entry_point() -> None:
    """An installation finds the channel under the name that devices offer."""
    (found,) = entry_points(group="aoi_events.channels", name="websocket")
    assert found.load() is plugin
    assert plugin.type == "websocket"


def test_traits_come_from_the_settings() -> None:
    """Connection-oriented, nothing to prove, as large as content may be."""
    assert plugin.traits(WebSocketSettings(ack_within=3, cost=0.5)) == ChannelTraits(
        type="websocket",
        connection_oriented=True,
        ack_within=3,
        largest_content=MAX_CONTENT,
        needs_proof=False,
        cost=0.5,
    )


def test_an_offer_has_no_parameters_and_no_address() -> None:
    """The channel has no parameters."""
    offered = plugin.offer({}, WebSocketSettings())
    assert (offered.parameters, offered.address) == ({}, None)
    with pytest.raises(Refusal) as caught:
        plugin.offer({"url": "wss://other.example"}, WebSocketSettings())
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID, "parameters.url")


async def test_it_can_be_switched_off_and_connects_to_nothing() -> None:
    """Without it devices use their other channels; there is never a sender to drive."""
    assert plugin.configured(WebSocketSettings())
    assert not plugin.configured(WebSocketSettings(enabled=False))
    assert await plugin.connect(WebSocketSettings()) is None
