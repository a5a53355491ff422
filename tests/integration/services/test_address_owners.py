"""An address belongs to one client at a time, the last that proved it."""

from __future__ import annotations

import asyncio
import hashlib

from aoi_events.contracts.answers import ChannelsActivatedV1
from aoi_events.contracts.requests import ActivateChannelsV1, AnyRequest, ConfirmChannelV1
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import ChannelState
from aoi_events.ports.broker import Inbound
from aoi_events.services.activation.handler import ActivationHandler
from aoi_events.services.messages.requests import IncomingRequest
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.integration.services.proving import code_of, confirm, prove, state
from tests.support.system import System


@BOTH
async def test_a_long_address_is_proved_like_any_other(proving: System) -> None:
    """An address of 4,096 octets, more than an index entry can have, is proved by one client at a
    time; one that differs only at its end is another address.
    """
    parts = (hashlib.sha256(bytes([number])).hexdigest() for number in range(64))
    address = "".join(parts)
    assert len(address) == 4_096
    first, second = await proving.device(), await proving.device(identity="b")
    third = await proving.device(identity="c")
    await prove(proving, first, address)
    await prove(proving, third, address[:-1] + "-")
    await prove(proving, second, address)
    closed = await proving.events.wait_for("channel.closed", client=first.client)
    assert closed.data.reason == CloseReason.TAKEN_OVER  # type: ignore[union-attr]
    shop = await proving.user()
    for device in (second, third):
        await shop.send(f"n-{device.client}", device.token)
        item = await proving.provider.next_delivery()
        assert len(str(item.parameters["address"])) == 4_096


@BOTH
async def test_proving_takes_an_address_from_others(open_system: OpenSystem) -> None:
    """Proving an address takes it from any other client (a recycled number)."""
    system = await open_system(plugin={"needs_proof": True})
    shop, node = await system.user(), await system.node()
    old, new = await system.device(), await system.device()
    await prove(system, old, "a1")
    await prove(system, new, "a1")
    closed = await system.events.wait_for("channel.closed", client=old.client)
    assert closed.data.reason == CloseReason.TAKEN_OVER  # type: ignore[union-attr]
    await shop.send("n1", old.token)
    await system.events.wait_for("notification.stored", notification="n1")
    assert len((await node.connect(old)).closed) == 1
    assert system.provider.deliveries == []


@BOTH
async def test_an_address_has_one_owner_whoever_is_quicker(open_system: OpenSystem) -> None:
    """Of clients that prove one address at the same moment, exactly one has it."""
    system = await open_system(plugin={"needs_proof": True})
    await system.run(system.installation.worker("activation"))
    devices = [await system.device() for _ in range(4)]
    codes = []
    for device in devices:
        await device.activate("scripted:a1")
        codes.append((await system.provider.next_challenge()).code)
    await asyncio.gather(*(confirm(d, code) for d, code in zip(devices, codes, strict=True)))
    async with system.installation.store.transaction(read_only=True) as tx:
        rows = await tx.channels({device.client for device in devices})
    active = [row for channels in rows.values() for row in channels if row.usable]
    assert len(active) == 1


async def test_nobody_confirms_for_somebody_else(proving: System) -> None:
    """A proof belongs to (client, address): another client's code proves nothing."""
    mine, other = await proving.device("scripted:a1"), await proving.device("scripted:a1")
    codes = {c.client: c.code for c in [await proving.provider.next_challenge() for _ in "12"]}
    assert code_of(await confirm(other, codes[mine.client])) == "challenge_wrong"
    unasked = await mine.refused("channel.confirm", channel="websocket", code="ABCDEF")
    assert unasked.code == "challenge_expired"


async def test_an_address_is_offered_again_and_proved_in_one_batch(proving: System) -> None:
    """Two requests of one client that are handled together: the second one sees what the first one
    did, and the earlier holder loses the address though the client's own row named another one
    before.
    """
    mine, other = await proving.device(), await proving.device(identity="b")
    await prove(proving, other, "a1")
    await mine.activate("scripted:a1")
    code = (await proving.provider.next_challenge()).code
    await mine.activate("scripted:a2")
    found = proving.installation
    handler = ActivationHandler(found.store, found.services, proving.clock)
    given = {"version": 1, "client": mine.client, "secret": mine.secret}
    offers = [{"type": "scripted", "parameters": {"address": "a1"}}]
    requests: list[AnyRequest] = [
        ActivateChannelsV1.model_validate(given | {"sequence": mine.next(), "offers": offers}),
        ConfirmChannelV1.model_validate(given | {"channel": "scripted", "code": code}),
    ]
    message = Inbound(body=b"", routing_key="", exchange="", tag=1, reply_to="replies")
    outputs = await handler.handle([IncomingRequest(r, "devices", None, message) for r in requests])
    answers = [ChannelsActivatedV1.decode(o.body) for o in outputs if o.routing_key == "replies"]
    assert [state(answer) for answer in answers] == ["pending", "active"]
    async with found.store.transaction(read_only=True) as tx:
        (row,) = (await tx.channels({other.client}))[other.client]
    assert row.state is ChannelState.CLOSED
