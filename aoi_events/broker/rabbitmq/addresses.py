"""The addresses of RabbitMQ: nodes that are listed, and several addresses of one name."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from socket import SOCK_STREAM
from typing import Final

from yarl import URL

from aoi_events.broker.rabbitmq.faults import ANSWER_WITHIN, broker_faults
from aoi_events.errors import BrokerUnavailable

CONNECT_WITHIN: Final = 4.0
"""Seconds for one of several addresses to take a connection and a login; then the next is tried."""
_PORTS: Final = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One IP address of a host of the broker's URL: ``url`` has the host, ``ip`` is its address.

    ``shown`` names it in logs and errors.
    """

    url: URL
    ip: str
    shown: str


class BrokerAddresses:
    """The addresses to try, in random order, so that processes spread over the nodes.

    The two connections of a process share one order. What failed is tried after all others.
    """

    def __init__(self, urls: Sequence[URL]) -> None:
        self._urls = tuple(url if url.port else url.with_port(_PORTS[url.scheme]) for url in urls)
        self._failures = count(1)
        self._turns: dict[BrokerAddress, float] = {}
        """Below 1: a random place in the order; else the number of the last failure."""

    @property
    def tls(self) -> bool:
        """Whether the connections use TLS."""
        return self._urls[0].scheme == "amqps"

    def __str__(self) -> str:
        return ", ".join(map(_shown, self._urls))

    def failed(self, address: BrokerAddress) -> None:
        """Try the others first from now on."""
        self._turns[address] = next(self._failures)

    async def in_turn(self) -> tuple[list[BrokerAddress], list[BrokerUnavailable]]:
        """The addresses in the order in which to try them, and errors for names without any."""
        within = ANSWER_WITHIN if len(self._urls) == 1 else CONNECT_WITHIN
        looked_up = await asyncio.gather(
            *(_addresses_of(url, within) for url in self._urls), return_exceptions=True
        )
        families: dict[BrokerAddress, int] = {}
        errors: list[BrokerUnavailable] = []
        for found in looked_up:
            if isinstance(found, BrokerUnavailable):
                errors.append(found)
            elif isinstance(found, BaseException):
                raise found
            else:
                families |= found
        turns = {each: self._turns.get(each, random.random()) for each in families}  # noqa: S311
        self._turns = turns
        return sorted(turns, key=lambda it: (int(turns[it]), families[it], turns[it])), errors


async def _addresses_of(url: URL, within: float) -> dict[BrokerAddress, int]:
    """The addresses of one host, each with the rank of its family: the system prefers rank 0."""
    host, shown = url.host or "", _shown(url)
    try:
        return {BrokerAddress(url, str(ip_address(host)), shown): 0}
    except ValueError:
        pass
    async with broker_faults(f"connecting to {shown}", within=within):
        found = await asyncio.get_running_loop().getaddrinfo(host, url.port, type=SOCK_STREAM)
    families = list(dict.fromkeys(family for family, *_ in found))
    ips = {str(where[0]): families.index(family) for family, *_, where in found}
    return {
        BrokerAddress(url, ip, shown if len(ips) == 1 else f"{shown} ({ip})"): rank
        for ip, rank in ips.items()
    }


def _shown(url: URL) -> str:
    """Host and port, without the password."""
    return f"{url.host_subcomponent}:{url.port}"
