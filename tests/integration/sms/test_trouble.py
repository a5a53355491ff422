"""An SMSC that slows us down, refuses, goes away, is silent or talks nonsense: nothing is lost."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from aoi_events import Publisher
from aoi_events.broker.topology import delivery_queue
from aoi_events.client.events import ChannelClosed
from aoi_events.contracts.envelopes import DeliverItem, DeliveryBatchV1
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.domain.channels import ChannelState
from aoi_events.domain.push_payload import ContentPush, decode
from aoi_events.errors import StoreUnavailable
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Submission
from aoi_events.store.store import SqlTransaction
from aoi_events.testing import AoiServer, LoopbackSmsc, Reply, WaitFor
from tests.integration.sms.conftest import BOTH, MakeHandset
from tests.integration.sms.handset import Handset, state_of

WINDOW = 6.0
"""Seconds after which the acknowledgement of an SMS counts as missing here."""


async def send(shop: Publisher, handset: Handset, count: int) -> list[str]:
    """Several notifications; their names."""
    names = [f"n{number}" for number in range(count)]
    for name in names:
        await shop.send(handset.token, name, notification=name)
    return names


async def all_delivered(server: AoiServer, names: list[str]) -> None:
    """Every one of them ends as delivered."""
    for name in names:
        await server.wait_for("notification.delivered", notification=name, within=20)


def contents(smsc: LoopbackSmsc) -> Counter[str]:
    """What the SMSC was handed, and how often."""
    pushes = (decode(message.user_data) for message in smsc.submissions)
    return Counter(push.content.data for push in pushes if isinstance(push, ContentPush))


@asynccontextmanager
async def a_second_worker(server: AoiServer) -> AsyncIterator[None]:
    """One more copy of the SMS worker, which drains at the end."""
    stop, started = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(server.installation.worker("sms").run(stop, started))
    try:
        async with asyncio.timeout(10):
            await started.wait()
        yield
    finally:
        stop.set()
        await running


@BOTH
async def test_throttling_slows_down_and_loses_nothing(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """RTHROTTLED and RMSGQFUL: a pause, another attempt, and in the end every telephone has
    everything once.
    """
    phone = await handset()
    smsc.script(Reply.throttle(), Reply.queue_full(), Reply(), Reply.throttle(), Reply.throttle())
    names = await send(shop, phone, 12)
    await all_delivered(server, names)
    read = Counter([await message(phone) for _ in names])
    assert read == Counter(names)
    assert sum(contents(smsc).values()) == len(names) + 4


async def message(handset: Handset) -> str:
    """The content of the next short message."""
    payload = await handset.read()
    assert isinstance(payload, ContentPush)
    return payload.content.data


@BOTH
async def test_a_bad_number_closes_the_channel_and_its_proof(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, wait_for: WaitFor
) -> None:
    """The SMSC knows no such number: the channel closes, the notification is kept, the proof is
    gone, and the client is told at its next welcome.
    """
    phone = await server.device("phone", apps=["org.mail"])
    smsc.script(Reply.bad_number())
    phone.cut()
    await shop.send(phone.token, "Gate B12", notification="n1")
    server.advance(3)  # the WebSocket's window
    closed = await wait_for("channel.closed", client=phone.client.client_id, channel="sms")
    assert "RINVDSTADR" in (closed.data.reason or "")  # type: ignore[union-attr]
    await wait_for("notification.stored", notification="n1")
    submitted = len(smsc.submissions)

    await phone.restore()
    told = await wait_for(ChannelClosed, device="phone", type="sms")
    assert "RINVDSTADR" in told.reason
    assert (await phone.read()).channel == "websocket"
    await wait_for("notification.delivered", notification="n1", by="device")
    # Offered anew (without and with it, so that the server is asked), it must be proved anew.
    await phone.offer(ChannelOffer(type="websocket"))
    await phone.offer(
        ChannelOffer(type="websocket"),
        ChannelOffer(type="sms", parameters={"msisdn": phone.number or ""}),
    )
    await phone.ready("websocket", "sms")
    assert len(smsc.submissions) == submitted + 1


async def test_a_number_that_is_bad_for_its_challenge_is_given_up(
    server: AoiServer, smsc: LoopbackSmsc, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Nobody waits for the outcome of a challenge: the proof ends at its own deadline."""
    smsc.default = Reply.bad_number()
    phone = await handset(proved=False)
    assert state_of(await phone.offer()) == "pending"
    for count in range(1, 4):
        await smsc.submitted(count)
        server.advance(121)
    await wait_for("channel.closed", client=phone.client, channel="sms")
    assert phone.unread == 0


@BOTH
async def test_an_smsc_that_is_down_for_a_while_loses_nothing(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """What is sent while the SMSC is away waits, and goes out when it is back."""
    phone = await handset()
    await smsc.go_down()
    await smsc.bound(0)
    names = await send(shop, phone, 5)
    assert phone.unread == 0
    await smsc.come_back()
    await all_delivered(server, names)
    assert contents(smsc) == Counter(names)


async def test_an_outage_longer_than_the_window_is_only_late(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Deadlines come while the SMSC is away: attempts are made again, stale ones do not go out
    beside them, and the telephone gets each notification once.
    """
    phone = await handset()
    await smsc.go_down()
    await smsc.bound(0)
    names = await send(shop, phone, 3)
    for _ in range(3):
        server.advance(WINDOW)
        await wait_for.hop(names[-1], "not acknowledged")
    await smsc.come_back()
    # Attempts that were put off for longer than a test waits come at once.
    server.advance(60)
    await all_delivered(server, names)
    assert contents(smsc) == Counter(names)


async def test_a_line_that_is_cut_under_way_is_tried_again(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """Submissions whose answers went with the line are repeated, and everything arrives."""
    phone = await handset()
    smsc.script(Reply.silence(), Reply.silence())
    names = await send(shop, phone, 2)
    await smsc.submitted(3)
    smsc.cut()
    await all_delivered(server, names)
    assert set(contents(smsc)) == set(names)


async def test_an_unanswered_submission_is_tried_again(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Nobody knows whether it went out: another attempt with the same delivery ID."""
    phone = await handset()
    smsc.script(Reply.silence())
    accepted = await shop.send(phone.token, "Gate B12", notification="n1")
    hop = await wait_for.hop("n1", "refused")
    assert (hop.detail or "").startswith("unanswered")
    payload = await phone.read()
    assert isinstance(payload, ContentPush)
    assert payload.delivery == accepted.deliveries[0].delivery
    await wait_for("notification.delivered", notification="n1", by="provider")
    assert contents(smsc)["Gate B12"] == 2


async def test_a_line_that_is_frozen_is_given_up(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """Cut without a word: the link is found dead by the first message that nobody answers."""
    phone = await handset()
    smsc.freeze()
    await shop.send(phone.token, "Gate B12", notification="n1")
    await server.wait_for.hop("n1", "refused")
    smsc.thaw()
    await all_delivered(server, ["n1"])


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


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes(64),
        struct.pack(">IIII", 0xFFFFFFFF, 5, 0, 1),
        struct.pack(">IIII", 16, 5, 0, 1),
        struct.pack(">IIII", 15, 5, 0, 1),
        struct.pack(">IIII", 16, 0x80000004, 0, 0x7FFFFFFF),
        struct.pack(">IIII", 16, 0x80000000, 3, 2),
        struct.pack(">IIII", 24, 5, 0, 9) + b"\xff" * 8,
        struct.pack(">IIII", 16, 0x00000006, 0, 3),
    ],
    ids=["text", "zeros", "huge", "empty", "short", "stray", "nack", "garbled", "unbind"],
)
async def test_an_smsc_that_babbles_harms_nothing(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, octets: bytes
) -> None:
    """Hostile octets on the line cost at most the line: the worker connects again and goes on."""
    phone = await handset()
    for _ in range(3):
        smsc.babble(octets)
    names = await send(shop, phone, 3)
    await all_delivered(server, names)
    assert set(contents(smsc)) == set(names)


async def test_an_impostor_at_the_address_of_the_smsc_harms_nothing(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """Something that speaks no SMPP answers at its address for a while: nothing is lost by it."""
    phone = await handset()
    visits: asyncio.Queue[int] = asyncio.Queue()

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.put_nowait(len(await reader.read(1_000)))
        writer.write(b"\x00\x00\x00\x10\x80\x00\x00\x09\x00\x00\x00\x0d\x00\x00\x00\x01" * 3)
        writer.write(b"220 mail.example.net ESMTP\r\n" * 50)
        writer.close()

    await smsc.go_down()
    await smsc.bound(0)
    liar = await asyncio.start_server(impostor, smsc.host, smsc.port)
    async with liar, asyncio.timeout(10):
        names = await send(shop, phone, 3)
        for _ in range(2):
            await visits.get()
    await smsc.come_back()
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

    async def fail_once(self: SqlTransaction, submissions: Sequence[Submission]) -> None:
        if faults:
            raise faults.pop()
        await note(self, submissions)

    monkeypatch.setattr(SqlTransaction, "note_provider_messages", fail_once)
    await shop.send(phone.token, "Gate B12", notification="n1")
    await wait_for("notification.delivered", notification="n1", by="provider")
    assert not faults
    assert contents(smsc) == Counter({"Gate B12": 1})
