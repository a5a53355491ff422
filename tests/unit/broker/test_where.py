"""How errors name the broker."""

from __future__ import annotations

import pytest
from yarl import URL

from aoi_events.broker.rabbitmq.reconnecting_connection import ReconnectingConnection


@pytest.mark.parametrize(
    "url, where",
    [
        ("amqp://aoi:hidden@rabbit/aoi", "rabbit:5672"),
        ("amqps://aoi:hidden@rabbit/aoi", "rabbit:5671"),
        ("amqps://aoi:hidden@rabbit:5999/aoi", "rabbit:5999"),
    ],
)
def test_the_port_is_that_of_the_scheme(url: str, where: str) -> None:
    """Host and port are named; with TLS the port is another one."""
    assert ReconnectingConnection(URL(url), name="aoi").where == where
