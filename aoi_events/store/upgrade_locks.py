"""Locks while PostgreSQL's schema is upgraded: that of the upgrade itself, and those in its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_LOOK_AGAIN: Final = 0.1
KEY: Final = 0x616F6920_6D696772
"""The key of the advisory lock that only one upgrade of a database holds."""
_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(:key)")
_SESSION: Final = """
    format('session %s (%s)', a.pid, concat_ws(', ',
        'user ' || usename, nullif(application_name, ''),
        state || coalesce(to_char(xact_start AT TIME ZONE 'UTC',
                                  '" since "YYYY-MM-DD HH24:MI:SS" UTC"'), '')))
"""
"""A session for a person, who may want to end it; of other users' sessions not all is visible."""
_HOLDING: Final = text(f"""
    SELECT {_SESSION} FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
     WHERE locktype = 'advisory' AND granted
       AND (CAST(classid AS bigint) << 32) + CAST(objid AS bigint) = :key
""")  # noqa: S608 - a constant
_BLOCKING: Final = text(f"""
    SELECT {_SESSION} FROM pg_stat_activity a
     WHERE pid IN (
           SELECT unnest(pg_blocking_pids(pid))
             FROM pg_locks JOIN pg_stat_activity w USING (pid)
            WHERE NOT granted AND w.datname = current_database() AND w.usename = current_user
              AND locktype IN ('relation', 'virtualxid')
              AND mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock'))
""")  # noqa: S608 - a constant
"""Those for which a change of the schema waits, whose session is unknown behind a pooler."""


@asynccontextmanager
async def upgrading(engine: AsyncEngine, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold the lock of the upgrade; waits, and says for whom, while another process has it.

    It belongs to a transaction of its own, because poolers give each transaction another session.
    """
    key, told = {"key": KEY}, False
    async with engine.connect() as connection:
        while not await connection.scalar(_LOCK, key):
            if not told:
                others = (await connection.scalars(_HOLDING, key)).all()
                tell(f"another upgrade is at work, this one waits for it: {named(others)}")
                told = True
            await connection.rollback()
            await asyncio.sleep(_LOOK_AGAIN)
        # Until its next statement a transaction has the snapshot of the last one, and an index that
        # is built waits for all snapshots.
        await connection.begin_nested()
        yield


@asynccontextmanager
async def blocking(
    engine: AsyncEngine, connection: AsyncConnection, within: float
) -> AsyncIterator[Sequence[str]]:
    """The sessions that a change of the schema waits for within the block; the last ones that were
    found stay known.

    A statement of ``connection`` that waits for longer than ``within`` is cancelled: an index is
    built outside of transactions, where behind a pooler the server has no limit of ours.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    found: list[str] = []

    async def look() -> None:
        waits = 0
        async with engine.connect() as looking:
            while True:
                sessions = (await looking.scalars(_BLOCKING)).all()
                await looking.rollback()  # an index that is built would wait for what was read
                found[:] = sessions or found
                waits = waits + 1 if sessions else 0
                if waits * _LOOK_AGAIN > within:
                    await driver.cancel_safe()
                await asyncio.sleep(_LOOK_AGAIN)

    looking = asyncio.create_task(look())
    try:
        yield found
    finally:
        looking.cancel()
        await asyncio.wait([looking])


def named(sessions: Sequence[str]) -> str:
    """The sessions in one text."""
    return ", ".join(sessions) or (
        "a session that ended meanwhile, or a prepared transaction (see pg_prepared_xacts),"
    )
