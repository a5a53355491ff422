"""What goes out and what does not: once, while it is wanted, and to whom it belongs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from aoi_events import Publisher
from aoi_events.contracts.envelopes import DeliverItem, DeliveryBatchV1
from aoi_events.domain.clients.channels import ChannelState
from aoi_events.errors import StoreUnavailable
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import ProviderMessage
from aoi_events.store.store import SqlTransaction
from aoi_events.testing import AoiServer, LoopbackSmsc, Reply, WaitFor
from aoi_events.topology import delivery_queue
from tests.integration.sms.conftest import BOTH, MakeHandset
from tests.integration.sms.handset import state_of
from tests.integration.sms.traffic import a_second_worker, all_delivered, contents, message, send


@BOTH
async def test_a_delivery_batch_that_comes_twice_is_submitted_once(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """The broker delivers again what was not acknowledged: the step is noted before it goes out,
    so a repeat goes nowhere, and neither does one at another copy of the worker.
    """
    phone = await handset()
    smsc.script(Reply(receipts=()))
    await shop.send(phone.token, "first", notification="n1")
    await message(phone)
    await server.wait_for.hop("n1", "accepted")
    async with server.installation.store.transaction(read_only=True) as tx:
        [row] = await tx.deliveries_named("n1")
        channels = await tx.channels({row.client})
    item = DeliverItem(
        delivery=row.id,
        notification="n1",
        client=row.client,
        channel="sms",
        step=0,
        attempt=row.steps[0].attempt,
        token=phone.token,
        fingerprint=row.fingerprint,
        application=row.application,
        instance=row.instance,
        content={"data": "first"},  # type: ignore[arg-type]
        urgency="normal",  # type: ignore[arg-type]
        accepted_at=row.accepted_at,
        expires_at=row.expires_at,
        parameters=channels[row.client][0].parameters,
    )
    again = Outbound("", delivery_queue("sms"), DeliveryBatchV1(items=(item, item)).encode())
    async with a_second_worker(server):
        await server.installation.broker.publish([again] * 3)
        await shop.send(phone.token, "last", notification="n2")
        assert await message(phone) == "last"
        await all_delivered(server, ["n2"])
    assert contents(smsc) == Counter(first=1, last=1)


@BOTH
async def test_two_workers_share_the_work(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """Any number of copies: each message goes out once, and receipts find their way whichever copy
    hears them.
    """
    phone = await handset()
    async with a_second_worker(server):
        await smsc.bound(2)
        names = await send(shop, phone, 20)
        await all_delivered(server, names)
    assert contents(smsc) == Counter(names)


async def test_what_waits_for_the_smsc_does_not_go_to_a_number_that_was_given_up(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """No borrowed addresses: while its message waits, the client withdraws the number (its next
    owner may be anybody): it does not go there any more, and is kept.
    """
    phone = await handset()
    await smsc.go_down()
    await smsc.bound(0)
    await shop.send(phone.token, "private", notification="n1")
    await phone.withdraw()
    await smsc.come_back()
    await wait_for("notification.stored", notification="n1")
    assert phone.unread == 0
    phone_again = await phone.offer("+31600000002")
    assert state_of(phone_again) == "pending"
    await phone.confirm(await phone.code())
    assert await message(phone) == "private"
    assert contents(smsc) == Counter(private=1)


async def test_what_waits_for_the_smsc_does_not_go_to_a_number_that_is_only_claimed(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """The same when the number lost its proof meanwhile and is offered again: it is pending."""
    phone = await handset()
    await smsc.go_down()
    await smsc.bound(0)
    await shop.send(phone.token, "private", notification="n1")
    async with server.installation.store.transaction() as tx:
        [row] = (await tx.channels({phone.client}))[phone.client]
        await tx.save_channels([replace(row, state=ChannelState.PENDING)])
    await smsc.come_back()
    await wait_for("notification.stored", notification="n1", reason="route_lost")
    assert contents(smsc) == Counter()


async def test_a_challenge_does_not_go_to_a_number_that_was_given_up(
    smsc: LoopbackSmsc, handset: MakeHandset
) -> None:
    """Offered, withdrawn before the SMSC was back, and another number offered: only that one is
    challenged.
    """
    phone = await handset(proved=False)
    await smsc.bound(1)
    await smsc.go_down()
    await smsc.bound(0)
    await phone.offer("+31600000001")
    await phone.offer("+31600000002")
    await smsc.come_back()
    assert state_of(await phone.confirm(await phone.code())) == "active"
    assert [each.number for each in smsc.submissions] == ["+31600000002"]


async def test_a_store_that_goes_away_after_a_submission_costs_no_receipt(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The SMSC has the message and its name could not be noted: the message is not submitted
    again, and its name is noted when the store is back, so that its receipt counts.
    """
    phone = await handset()
    note = SqlTransaction.note_provider_messages
    faults = [StoreUnavailable("the test took it away")]

    async def fail_once(self: SqlTransaction, messages: Sequence[ProviderMessage]) -> None:
        if faults:
            raise faults.pop()
        await note(self, messages)

    monkeypatch.setattr(SqlTransaction, "note_provider_messages", fail_once)
    await shop.send(phone.token, "Gate B12", notification="n1")
    await wait_for("notification.delivered", notification="n1", by="provider")
    assert not faults
    assert contents(smsc) == Counter({"Gate B12": 1})
