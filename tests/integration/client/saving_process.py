"""A process that saves a growing state and reports each save, until it is killed.

It begins with what the life before it stored, and says so; each line is written after the save.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace

from aoi_events.client.core.state import Credentials, StoredState, decode, encode
from aoi_events.client.shell.storage import FileStorage


async def keep(path: str) -> None:
    """Save state after state, each with a higher sequence number."""
    storage = FileStorage(path)
    data = await storage.load()
    stored = StoredState() if data is None else decode(data)
    os.write(1, f"{stored.sequence}\n".encode())
    while True:
        secret = "x" * (stored.sequence % 50_000)
        stored = replace(
            stored, sequence=stored.sequence + 1, credentials=Credentials(secret, "tel:+1")
        )
        await storage.save(encode(stored))
        os.write(1, f"{stored.sequence}\n".encode())


if __name__ == "__main__":
    asyncio.run(keep(sys.argv[1]))
