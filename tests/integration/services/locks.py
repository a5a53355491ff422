"""Who waits for whose lock, on the store where transactions run beside each other."""

from __future__ import annotations

import asyncio

import asyncpg

from tests.support.containers import SOMEBODY_WAITS
from tests.support.limits import WITHIN
from tests.support.system import System


async def somebody_waits(system: System, *, count: int = 1) -> None:
    """Return as soon as so many transactions wait for a lock of another one."""
    url = system.installation.settings.store.get_secret_value()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with asyncio.timeout(WITHIN):
            # Each look is a round trip to the server, so this loop is no busy one.
            while await connection.fetchval(SOMEBODY_WAITS) < count:
                continue
    finally:
        await connection.close()
