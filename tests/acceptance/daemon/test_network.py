"""The network goes, comes back and changes: interfaces in namespaces, and a proxy that cuts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aoi_events.testing.server import AoiServer
from aoi_events.testing.waiting import WaitFor
from tests.acceptance.daemon.cutting_proxy import CuttingProxy
from tests.acceptance.daemon.machine import MAIL, Machine
from tests.acceptance.daemon.network_namespaces import NetworkNamespaces
from tests.support.limits import WITHIN
from tests.support.scripted_server import ScriptedServer


@dataclass(frozen=True)
class Connected:
    """A device in a network of its own, and the AOI Server that it reaches there, which writes
    down every request.
    """

    machine: Machine
    network: NetworkNamespaces
    server: ScriptedServer

    async def circumstances(self, count: int) -> dict[str, Any]:
        """The circumstances in the activation of that number (8.1.2)."""
        await self.server.until(lambda: len(self.server.requests("channel.activate")) >= count)
        said: dict[str, Any] = self.server.requests("channel.activate")[count - 1].body
        return dict(said["circumstances"])


@pytest.fixture
async def network() -> AsyncIterator[tuple[NetworkNamespaces, CuttingProxy]]:
    """Namespaces with a cable between them, and a proxy at its other end."""
    network = NetworkNamespaces()
    listening = await network.open()
    proxy = CuttingProxy("ws://127.0.0.1:1/")
    await proxy.start(listening)
    yield network, proxy
    await proxy.stop()
    await network.close()


@pytest.fixture
async def connected(
    network: tuple[NetworkNamespaces, CuttingProxy], tmp_path: Path
) -> AsyncIterator[Connected]:
    """A device in a network of its own."""
    namespaces, proxy = network
    server = ScriptedServer()
    await server.start()
    proxy.forward_to(server.url)
    url = f"ws://{namespaces.GATEWAY}:8090/"
    async with Machine(tmp_path, url, before=namespaces.before) as machine:
        yield Connected(machine, namespaces, server)
    await server.stop()


async def test_a_new_address_is_told_to_the_server(connected: Connected) -> None:
    """8.1.2: a new address: the old connection is given up, a new one made, and the channels
    activated again, since their nature may be another one.
    """
    daemon = await connected.machine.start()
    app = await connected.machine.attach()
    assert (await connected.circumstances(1))["bearer"] == "ethernet"
    await connected.network.ip("addr add 10.99.0.3/25 dev wired")
    await connected.network.ip("addr del 10.99.0.2/24 dev wired")
    await connected.circumstances(2)
    await daemon.until_logged("connected", times=2, within=WITHIN)
    assert any(
        entry["reason"] == "the network changed"
        for entry in daemon.log
        if entry["event"] == "disconnected"
    )
    await connected.server.notify(1, str(app.token))
    assert await app.read() == "hello"
    assert len(connected.server.requests("client.register")) == 1


async def test_another_network_is_told_to_the_server(connected: Connected) -> None:
    """8.1.2: the way to the server changes to a metered interface: activated again, with what is
    known of it; and back.
    """
    machine, network = connected.machine, connected.network
    await network.plug("radio", "10.98.0")
    await network.ip("route add default via 10.98.0.1 metric 500")
    daemon = await machine.start(metered='["rad*"]')
    await machine.attach()
    assert await connected.circumstances(1) == {"bearer": "ethernet", "metered": False}
    await network.ip("route add 10.99.0.1/32 via 10.98.0.1 dev radio")
    assert await connected.circumstances(2) == {"bearer": "ethernet", "metered": True}
    await daemon.until_logged("connected", times=2, within=WITHIN)
    assert (await machine.status()).metered
    await network.ip("route del 10.99.0.1/32")
    assert await connected.circumstances(3) == {"bearer": "ethernet", "metered": False}


@pytest.mark.parametrize(
    "end, away, back",
    [
        ("ours", "link set wired down", "link set wired up"),
        ("ours", "addr del 10.99.0.2/24 dev wired", "addr add 10.99.0.2/24 dev wired"),
        ("theirs", "link set wired down", "link set wired up"),
    ],
    ids=["interface", "address", "carrier"],
)
async def test_a_network_that_goes_and_comes_back(
    connected: Connected, end: str, away: str, back: str
) -> None:
    """Without one nothing is tried; with the same one again the session is there at once, and no
    activation is needed.
    """
    machine = connected.machine
    change = connected.network.ip if end == "ours" else connected.network.outside
    daemon = await machine.start(reconnect_first="60", reconnect_most="60")
    app = await machine.attach()
    await connected.circumstances(1)
    await daemon.until_logged("connected", within=WITHIN)
    await change(away)
    await daemon.until_logged("network_changed", within=WITHIN)
    status = await machine.status()
    assert (status.bearer, status.connected) == ("none", False)
    await change(back)
    await daemon.until_logged("connected", times=2, within=WITHIN)
    assert (await machine.status()).bearer == "ethernet"
    await connected.server.notify(1, str(app.token))
    assert await app.read() == "hello"
    assert len(connected.server.requests("channel.activate")) == 1


async def test_a_burst_of_changes_is_one_change(connected: Connected) -> None:
    """Hundreds of netlink messages at once, and among them one that matters: looked at once."""
    daemon = await connected.machine.start(settle="0.5")
    await connected.machine.attach()
    await connected.circumstances(1)
    more = [f"addr add 10.50.{n // 250}.{n % 250 + 1}/32 dev wired" for n in range(500)]
    more += ["addr add 10.99.0.3/25 dev wired", "addr del 10.99.0.2/24 dev wired"]
    more += [line.replace("addr add", "addr del") for line in more[:500]]
    await connected.network.ip("-batch -", batch="\n".join(more))
    await connected.circumstances(2)
    await daemon.until_logged("connected", times=2, within=WITHIN)
    assert not daemon.logged("network_changed", times=2), daemon.seen()


async def test_what_came_meanwhile_is_delivered_after(
    network: tuple[NetworkNamespaces, CuttingProxy],
    aoi: AoiServer,
    wait_for: WaitFor,
    tmp_path: Path,
) -> None:
    """With the real server: what is sent while there is no network arrives when there is one."""
    namespaces, proxy = network
    proxy.forward_to(aoi.gateway_url)
    url = f"ws://{namespaces.GATEWAY}:8090/aoi"
    async with Machine(tmp_path, url, before=namespaces.before) as machine:
        daemon = await machine.start()
        app = await machine.attach(MAIL)
        await namespaces.ip("link set wired down")
        await daemon.until_logged("network_changed", within=WITHIN)
        await (await aoi.publisher()).send(str(app.token), "held", notification="n1")
        await wait_for.state("n1", "stored", within=WITHIN)
        await namespaces.ip("link set wired up")
        assert await app.read() == "held"
        await wait_for.state("n1", "delivered", within=WITHIN)


async def test_an_unwatched_network(machine: Machine) -> None:
    """Where the network is not watched, its bearer is unknown, and connections are just tried."""
    daemon = await machine.start(network="unwatched")
    await machine.attach()
    await daemon.until_logged("connected", within=WITHIN)
    assert (await machine.status()).bearer == "unknown"


@pytest.fixture
async def proxy(aoi: AoiServer, machine: Machine) -> AsyncIterator[CuttingProxy]:
    """What lies between the device and the AOI Server."""
    proxy = await CuttingProxy(aoi.gateway_url).start()
    machine.settings["AOI_CLIENT__URL"] = proxy.url()
    yield proxy
    await proxy.stop()


async def test_a_connection_that_is_cut(
    machine: Machine, proxy: CuttingProxy, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """A server that cannot be reached for a while: tried again, and everything arrives."""
    daemon = await machine.start()
    app = await machine.attach()
    await daemon.until_logged("connected", within=WITHIN)
    proxy.cut()
    await daemon.until_logged("disconnected", times=3, within=WITHIN)
    await (await aoi.publisher()).send(str(app.token), "held", notification="n1")
    await wait_for.state("n1", "stored", within=WITHIN)
    proxy.restore()
    assert await app.read() == "held"
    await wait_for.state("n1", "delivered", within=WITHIN)


async def test_a_connection_that_dies_without_a_word(
    machine: Machine, proxy: CuttingProxy, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """A connection over which nothing passes any more ends after too long a silence."""
    daemon = await machine.start()
    app = await machine.attach()
    await daemon.until_logged("connected", within=WITHIN)
    proxy.swallow()
    await (await aoi.publisher()).send(str(app.token), "held", notification="n1")
    await wait_for.state("n1", "stored", within=WITHIN)
    await daemon.until_logged("disconnected", within=WITHIN)
    proxy.restore()
    assert await app.read() == "held"
    await wait_for.state("n1", "delivered", within=WITHIN)
