"""An SMSC for trying: takes short messages over SMPP, and prints each as a line of JSON.

It is the SMSC of `aoi_events.testing`, made reachable for the sms worker; it accepts whoever binds,
reports every message as delivered, and passes none on to any telephone.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import suppress
from typing import Final

from aoi_events.testing.smsc import LoopbackSmsc

PORT: Final = 2775
_FOREVER: Final = 10.0**9


async def main() -> None:
    """Serve until TERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with LoopbackSmsc() as smsc:

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection(smsc.host, smsc.port)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

        server = await asyncio.start_server(carry, port=PORT)
        printing = asyncio.create_task(_print(smsc))
        async with server:
            print(json.dumps({"listening": PORT}), flush=True)
            await stop.wait()
        printing.cancel()


async def _print(smsc: LoopbackSmsc) -> None:
    shown = 0
    while True:
        await smsc.submitted(shown + 1, within=_FOREVER)
        for message in smsc.submissions[shown:]:
            line = {
                "number": message.number,
                "sender": message.sender,
                "user_data": message.user_data.hex(),
            }
            print(json.dumps(line), flush=True)
            shown += 1


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while octets := await reader.read(65_536):
            writer.write(octets)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main())
