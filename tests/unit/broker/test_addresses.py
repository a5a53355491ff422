"""The order in which the addresses of a broker are tried, and how errors name them."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any

import pytest
from yarl import URL

from aoi_events.broker.rabbitmq.addresses import BrokerAddresses

THREE = [URL(f"amqp://10.0.0.{number}/aoi") for number in (1, 2, 3)]


async def _ips(addresses: BrokerAddresses) -> list[str]:
    return [address.ip for address in (await addresses.in_turn())[0]]


@pytest.mark.parametrize(
    "url, shown",
    [
        ("amqp://aoi:hidden@rabbit/aoi", "rabbit:5672"),
        ("amqps://aoi:hidden@rabbit/aoi", "rabbit:5671"),
        ("amqps://aoi:hidden@[::1]:5999/aoi", "[::1]:5999"),
    ],
)
def test_the_port_is_that_of_the_scheme(url: str, shown: str) -> None:
    """Host and port are named; with TLS the port is another one."""
    assert str(BrokerAddresses([URL(url)])) == shown


async def test_processes_spread_over_the_addresses() -> None:
    """Each address is the first one of some; one process repeats its order."""
    firsts = Counter[str]()
    for _ in range(200):
        addresses = BrokerAddresses(THREE)
        order = await _ips(addresses)
        assert sorted(order) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        assert await _ips(addresses) == order
        firsts[order[0]] += 1
    assert len(firsts) == 3


async def test_what_failed_is_tried_last() -> None:
    """After each failure the next address is the first one, in a circle."""
    addresses = BrokerAddresses(THREE)
    order = await _ips(addresses)
    for _ in range(4):
        addresses.failed((await addresses.in_turn())[0][0])
        order = [*order[1:], order[0]]
        assert await _ips(addresses) == order


async def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the family that the system prefers come first, and an error can tell them apart; a
    name that is not known is an error, and the others are tried.
    """

    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host != "rabbit":
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        v4 = [(socket.AF_INET, 1, 6, "", (f"10.0.0.{n}", port)) for n in (1, 2)]
        return [(socket.AF_INET6, 1, 6, "", (f"fd00::{n}", port, 0, 0)) for n in (1, 2)] + v4

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    addresses = BrokerAddresses([URL("amqp://u:hidden@rabbit/"), URL("amqp://u:hidden@hare:1/")])
    found, (error,) = await addresses.in_turn()
    ips = [address.ip for address in found]
    assert sorted(ips[:2]) == ["fd00::1", "fd00::2"]
    assert sorted(ips[2:]) == ["10.0.0.1", "10.0.0.2"]
    assert {each.shown for each in found} == {f"rabbit:5672 ({ip})" for ip in ips}
    assert str(error) == "connecting to hare:1: not known"
