"""An SMSC that talks nonsense, or is none: the worse it behaves, the less it may matter."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter

import pytest

from aoi_events import Publisher
from aoi_events.testing import AoiServer, LoopbackSmsc
from tests.integration.sms.conftest import MakeHandset
from tests.integration.sms.traffic import all_delivered, contents, send
from tests.support.limits import WITHIN


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
    async with liar, asyncio.timeout(WITHIN):
        names = await send(shop, phone, 3)
        for _ in range(2):
            await visits.get()
    await smsc.come_back()
    await all_delivered(server, names)
    assert contents(smsc) == Counter(names)
