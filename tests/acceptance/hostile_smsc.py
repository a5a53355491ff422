"""Whatever an SMSC can say to us."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Iterator
from contextlib import suppress

import smpp34

from aoi_events.testing.smsc import LoopbackSmsc
from tests.support.limits import WITHIN

_RECEIPT = 0x04
_RECEIPTS = (
    b"id:deadbeef sub:001 dlvrd:001 done date:0 stat:DELIVRD err:000 Text:",
    b"id: stat:",
    b"id:" + b"f" * 200 + b" stat:DELIVRD",
    b"id:00000001 stat:NONSENSE err:\xff",
    b"\x00" * 100,
    b"",
)


def _pdus(rng: random.Random) -> Iterator[bytes]:
    """PDUs that are wrong in every part: length, command, status, body."""
    for length, command in (
        (0, 5),
        (15, 5),
        (0xFFFFFFFF, 5),
        (16, 0xDEAD),
        (16, 0x80000004),
        (16, 0x80000000),
    ):
        yield struct.pack(">IIII", length, command, 0, rng.randrange(1, 1_000))
    for command in (0x00000005, 0x80000004, 0x00000015, 0x00000004, 0x0000000B):
        body = rng.randbytes(rng.randrange(1, 300))
        yield struct.pack(">IIII", 16 + len(body), command, 0, rng.randrange(1, 1_000)) + body
    yield rng.randbytes(500)


async def talk_nonsense(smsc: LoopbackSmsc, rng: random.Random) -> None:
    """Wrong PDUs on lines that stand, receipts for what nobody sent, messages that are none."""
    for octets in _pdus(rng):
        await smsc.bound(within=WITHIN)
        smsc.babble(octets)
        await _say(smsc, b"", 0)  # behind the nonsense: once it is answered, that was read
        smsc.cut()
    await smsc.bound(within=WITHIN)
    for esm_class in (_RECEIPT, 0x40, 0):
        for text in _RECEIPTS:
            await _say(smsc, text, esm_class)


async def _say(smsc: LoopbackSmsc, text: bytes, esm_class: int) -> None:
    """Deliver it; that the line ends by it, or says nothing any more, is as in life."""
    with suppress(smpp34.SmppError, TimeoutError):
        async with asyncio.timeout(1):
            await smsc.say(text, esm_class=esm_class)


async def be_mad(smsc: LoopbackSmsc, rng: random.Random, connections: int) -> None:
    """Another server in its place, which answers every bind with nonsense; then it is back."""
    served = asyncio.Semaphore(0)

    async def rave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(100)
            for octets in rng.sample(list(_pdus(rng)), 3):
                writer.write(octets)
            await writer.drain()
        writer.close()
        served.release()

    port = smsc.port
    await smsc.go_down()
    async with asyncio.timeout(WITHIN):
        async with await asyncio.start_server(rave, smsc.host, port, reuse_address=True):
            for _ in range(connections):
                await served.acquire()
    await smsc.come_back()
    await smsc.bound(within=WITHIN)
