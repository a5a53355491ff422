"""The short messages of two attempts of one delivery differ on the wire."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from aoi_events.channels.sms import SmsSettings, plugin
from aoi_events.contracts.content import Content
from aoi_events.oma_push.datagrams import Bits, Part, Segment, read
from aoi_events.testing.smsc import LoopbackSmsc
from tests.support.limits import WITHIN
from tests.unit.channels.test_sms_channel import NUMBER, challenge, delivery

LONG = Content(data="x" * 300)
ATTEMPTS = (1, 2, 3, 4, 253, 254, 255, 256, 257, 65_535, 65_536)
"""Numbers of attempts, also those that no width of a reference has room for."""


async def sent(bits: Bits, *items: Any) -> list[list[Segment]]:
    """The segments of each item, as the SMSC got them."""
    async with LoopbackSmsc() as smsc:
        channel = await plugin.connect(
            SmsSettings(host=smsc.host, port=smsc.port, parts=4, reference_bits=bits)
        )
        assert channel is not None
        found: list[list[Segment]] = []
        async with asyncio.timeout(WITHIN):
            for item in items:
                (result,) = await channel.deliver([item])
                parts = len(result.provider_messages)
                messages = [await smsc.receive(NUMBER) for _ in range(parts)]
                found.append([read(message.user_data) for message in messages])
        await channel.close()
        return found


def part_of(segment: Segment) -> Part:
    """Which part of a push it is."""
    assert segment.part is not None
    return segment.part


@pytest.mark.parametrize("bits", [8, 16])
async def test_each_attempt_has_another_reference_than_the_one_before(bits: Bits) -> None:
    """All parts of an attempt have one reference, which differs from that of the attempt before, so
    that no telephone puts parts of two attempts together; so does the transaction ID of the push,
    by which telephones drop repeats.
    """
    attempts = await sent(bits, *(delivery(attempt=n, content=LONG) for n in ATTEMPTS))
    references = [{part_of(each).reference for each in segments} for segments in attempts]
    for (earlier,), (later,) in pairwise(references):
        assert earlier.bits == later.bits == bits
        assert earlier.number != later.number
    transactions = [segments[0].octets[0] for segments in attempts]
    assert all(earlier != later for earlier, later in pairwise(transactions))


@pytest.mark.parametrize("bits", [8, 16])
async def test_deliveries_have_references_of_their_own(bits: Bits) -> None:
    """The reference depends on the delivery: first attempts of several do not share one, and all of
    its bits count.
    """
    octet = 1 if bits == 16 else 2
    first = [delivery(n << 8 * (15 - octet), attempt=1, content=LONG) for n in range(1, 5)]
    segments = await sent(bits, *first)
    assert len({part_of(parts[0]).reference for parts in segments}) == len(first)


@pytest.mark.parametrize("make", [delivery, challenge])
async def test_an_attempt_in_one_message_has_another_transaction(make: Any) -> None:
    """A push in one short message has no reference; its transaction ID differs all the same."""
    segments = await sent(16, *(make(attempt=n) for n in ATTEMPTS))
    assert all(part.part is None for parts in segments for part in parts)
    transactions = [parts[0].octets[0] for parts in segments]
    assert all(earlier != later for earlier, later in pairwise(transactions))
