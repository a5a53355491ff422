"""What becomes of each message of an SMSC, and when it is acknowledged."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.channels.sms import receipt_queue
from aoi_events.channels.sms.inbound import take_message
from aoi_events.channels.sms.pdu import Command, Pdu
from aoi_events.channels.sms.receipt_queue import ReceiptQueue
from tests.support.limits import WITHIN
from tests.support.raw_smsc import report_body

RECEIPT = report_body(b"id:1A sub:001 stat:DELIVRD")
OTHER_RECEIPT = RECEIPT.replace(b"1A", b"1B")


def take(queue: ReceiptQueue, body: bytes) -> list[int]:
    """The statuses with which a message is answered, now and later."""
    answers: list[int] = []
    take_message(queue, "eu", Pdu(Command.DELIVER_SM, 0, 1, body), answers.append)
    return answers


async def test_a_receipt_is_acknowledged_by_its_reader_only() -> None:
    """Not when it comes, when it is read, or when the next is: one that is not final at once."""
    queue = ReceiptQueue()
    first, second = take(queue, RECEIPT), take(queue, RECEIPT)
    batches = queue.batches()
    async with asyncio.timeout(WITHIN):
        batch = await anext(batches)
        assert [each.receipt.message_id for each in batch] == ["1A", "1A"]
        assert take(queue, RECEIPT.replace(b"DELIVRD", b"ENROUTE")) == [0]
        third = take(queue, RECEIPT)
        assert len(await anext(batches)) == 1
    batch[1].acknowledge()
    assert (first, second, third) == ([], [0], [])


async def test_a_receipt_is_refused_while_too_many_are_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The SMSC sends it again; messages of other kinds are answered all the same."""
    monkeypatch.setattr(receipt_queue, "_UNANSWERED_AT_MOST", 1)
    queue = ReceiptQueue()
    assert take(queue, RECEIPT) == []
    [only] = await anext(queue.batches())
    assert take(queue, OTHER_RECEIPT) == [0x14]
    assert take(queue, report_body(b"STOP", esm_class=0)) == [0]
    only.acknowledge()
    assert take(queue, OTHER_RECEIPT) == []


async def test_a_receipt_that_comes_again_takes_no_place_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An SMSC sends in each session what it has no answer to: after an outage with many sessions
    there is room for what is new. Repeats have a bound of their own.
    """
    monkeypatch.setattr(receipt_queue, "_UNANSWERED_AT_MOST", 2)
    monkeypatch.setattr(receipt_queue, "_ANSWERS_AT_MOST", 4)
    queue = ReceiptQueue()
    assert [take(queue, RECEIPT) for _ in range(3)] == [[], [], []]
    assert take(queue, OTHER_RECEIPT) == []
    assert take(queue, RECEIPT) == [0x14]
    batch = await anext(queue.batches())
    for each in batch[1:]:
        each.acknowledge()
    assert take(queue, OTHER_RECEIPT) == []  # the first is not answered: both places are taken
    assert take(queue, RECEIPT.replace(b"1A", b"1C")) == [0x14]


@pytest.mark.parametrize(
    "body, status",
    [
        (report_body(b"STOP", esm_class=0), 0),
        (report_body(b"stat:DELIVRD"), 0),
        (report_body(b"id:1 stat:DELIVRD", esm_class=0x08), 0),
        (RECEIPT[:-9], 0x65),
        (b"", 0x65),
    ],
    ids=["of a telephone", "names nothing", "of another kind", "cut off", "empty"],
)
async def test_any_other_message_is_answered_at_once(body: bytes, status: int) -> None:
    """What is not read is acknowledged, so that it does not come again; broken PDUs are refused."""
    queue = ReceiptQueue()
    assert take(queue, body) == [status]
    queue.close()
    assert [batch async for batch in queue.batches()] == []
