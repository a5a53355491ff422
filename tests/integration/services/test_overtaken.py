"""Two workers at the same rows at the same moment, on the store where that can happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from aoi_events.contracts.answers import ChannelsActivatedV1, ClientRegisteredV1
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import Evidence
from aoi_events.domain.clients.channels import ProofState
from aoi_events.domain.clients.client import Client, Presence, client_id_of, connected
from aoi_events.domain.clients.proofs import challenge_code
from aoi_events.domain.delivery.state import deliver
from aoi_events.ports.store import Lock
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.locks import somebody_waits
from tests.support.actors import Device, Node, secret_and_hash
from tests.support.limits import WITHIN
from tests.support.system import System

pytestmark = pytest.mark.parametrize("backend", ["memory+postgresql"], indirect=True)


async def patience_passes(system: System) -> None:
    """Let the worker pause before it tries again, and let the pause end."""
    async with asyncio.timeout(WITHIN):
        await system.clock.somebody_sleeps()
    system.clock.advance(6)


async def test_one_secret_registered_twice_at_once(open_system: OpenSystem) -> None:
    """A repeated request gets the same ID, also at the very same moment; what became of the client
    meanwhile (its connection, its number of commands) stays.
    """
    system = await open_system(workers=["registration"])
    user = await system.user("devices")
    _, hashed = secret_and_hash()
    now = system.clock.now()
    first = Client(
        id=client_id_of(hashed),
        secret_hash=hashed,
        device="phone",
        identity="a",
        registered_at=now,
        seen_at=now,
        sequence=3,
        epoch=7,
        presence=Presence("gw-1", "s1"),
    )
    body: dict[str, Any] = {"device": "phone", "identity": "a", "secret_hash": hashed}
    async with system.installation.store.transaction() as tx:
        assert await tx.add_clients([first]) == {first.id}
        asking = asyncio.ensure_future(user.ask("client.register", **body))
        await somebody_waits(system)
    await patience_passes(system)
    answer = await asking
    assert isinstance(answer, ClientRegisteredV1)
    assert answer.client == first.id
    async with system.installation.store.transaction(read_only=True) as tx:
        (kept,) = (await tx.clients({first.id})).values()
    assert kept == replace(first, seen_at=kept.seen_at)


async def test_an_address_offered_while_it_is_proved(open_system: OpenSystem) -> None:
    """Promise (no borrowed addresses): proving an address takes it from a client that offered it at
    the last moment, too, and clients are never locked out of order for it.
    """
    system = await open_system(plugin={"needs_proof": True}, workers=["registration", "activation"])
    mine, other = await system.device(), await system.device(identity="b")
    await mine.activate("scripted:a1")
    store = system.installation.store
    async with store.transaction(read_only=True) as tx:
        (proof,) = (await tx.proofs({mine.client}))[mine.client]
    code = challenge_code(system.installation.services.challenge_key, proof)
    async with store.transaction() as tx:
        await tx.clients({mine.client}, Lock.EXCLUSIVE)
        asking = asyncio.ensure_future(mine.ask("channel.confirm", channel="scripted", code=code))
        await somebody_waits(system)
        await tx.save_proofs([replace(proof, client=other.client)])
    await patience_passes(system)
    answer = await asking
    assert isinstance(answer, ChannelsActivatedV1)
    assert [row.state for row in answer.selected] == ["active"]
    async with store.transaction(read_only=True) as tx:
        (lost,) = (await tx.proofs({other.client}))[other.client]
    assert lost.state is ProofState.FAILED


async def registers_an_app(device: Device, node: Node) -> object:
    """An app starts."""
    return await device.register_app()


async def registers_again(device: Device, node: Node) -> object:
    """The client proves itself, with another secret."""
    given: dict[str, Any] = {"device": "phone", "identity": device.identity}
    hashed = secret_and_hash()[1]
    return await device.user.ask(
        "client.register", secret_hash=hashed, previous=device.proof, **given
    )


async def activates(device: Device, node: Node) -> object:
    """It offers its channels."""
    return await device.activate("websocket")


async def deactivates(device: Device, node: Node) -> object:
    """It gives its channels up."""
    return await device.ask("channel.deactivate", sequence=device.next(), channels=[])


async def connects(device: Device, node: Node) -> object:
    """It opens one more session."""
    return await node.connect(device, "s3")


@pytest.mark.parametrize(
    "asks", [registers_an_app, registers_again, activates, deactivates, connects]
)
async def test_a_command_keeps_what_it_waited_for(
    open_system: OpenSystem, asks: Callable[[Device, Node], Awaitable[object]]
) -> None:
    """Commands read a client's row once they have its lock: a session that opened at the same
    moment stays, and the epoch and the returns that it counted stay counted.
    """
    system = await open_system(workers=["registration", "activation"])
    node, device = await system.node(), await system.device("websocket")
    await node.connect(device, "s1")
    store, now = system.installation.store, system.clock.now()
    async with store.transaction() as tx:
        (row,) = (await tx.clients({device.client}, Lock.EXCLUSIVE)).values()
        opened = connected(row, Presence(node.name, "s2"), now)
        await tx.save_clients([opened])
        asking = asyncio.ensure_future(asks(device, node))
        await somebody_waits(system)
    async with asyncio.timeout(WITHIN):
        await asking
    async with store.transaction(read_only=True) as tx:
        (kept,) = (await tx.clients({device.client})).values()
    returned = asks in (registers_an_app, activates, connects)
    assert kept.returns == opened.returns + int(returned)
    if asks is connects:
        assert (kept.presence, kept.epoch) == (Presence(node.name, "s3"), opened.epoch + 1)
        assert (await node.next_close()).session == "s2"
    else:
        assert (kept.presence, kept.epoch) == (opened.presence, opened.epoch)


@pytest.mark.parametrize("by", ["outcome", "deadlines"])
async def test_an_acknowledgement_at_the_same_moment_stays(
    open_system: OpenSystem, by: str
) -> None:
    """Who merges an outcome, or looks at a deadline, reads the delivery's row once it has its lock:
    what another worker wrote meanwhile is not undone.
    """
    system = await open_system(store_pool=8)
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    system.clock.advance(31)
    store, now = system.installation.store, system.clock.now()
    async with store.transaction() as other:
        async with store.transaction() as first:
            # What both lock before the delivery, so that it can be claimed.
            await first.clients({device.client}, Lock.EXCLUSIVE)
            if by == "outcome":
                await node.report(item, OutcomeKind.ROUTE_LOST, epoch=item.epoch)
                looking = None
            else:
                looking = asyncio.ensure_future(system.installation.deadlines().process_due())
            await somebody_waits(system)
            (row,) = (await other.deliveries({item.delivery}, Lock.EXCLUSIVE)).values()
        await somebody_waits(system)
        delivered = replace(deliver(row, Evidence.DEVICE, "websocket", now), deadline=None)
        await other.save_deliveries([delivered])
    if looking is not None:
        await looking
    else:
        await system.events.wait_for("notification.delivered", notification="n1")
    (kept,) = await system.rows("n1")
    assert (kept.state, kept.by) == ("delivered", "device")
