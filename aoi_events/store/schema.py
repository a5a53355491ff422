"""The schema of this version: whether a database has it, and what to do if it does not.

Nothing here imports Alembic, which takes a worker longer to load than all the rest of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aoi_events.errors import DOCUMENTATION, ConfigurationError, StoreUnavailable
from aoi_events.store.bulk_rows import Sql
from aoi_events.store.engine import Database
from aoi_events.store.faults import translated
from aoi_events.store.tables import METADATA

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""The folder of Alembic's migrations; each file's name begins with its revision."""

_LACKING: Final = text("""
    SELECT name, string_agg(wanted, ', ' ORDER BY place)
      FROM unnest(CAST(:tables AS text[])) AS name,
           unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS w(wanted, place)
     WHERE to_regclass(name) IS NOT NULL
       AND NOT has_table_privilege(to_regclass(name), wanted)
     GROUP BY name ORDER BY name
""")
"""Our tables, as far as they exist, with the rights on them that this user lacks (PostgreSQL)."""


async def check(database: Database, *, rights: bool = False) -> None:
    """Raises StoreUnavailable, or ConfigurationError when the schema is not this version's.

    ``rights``: also when the store's user may not do what workers do, or the server takes no
    writes.
    """
    with translated():
        async with database.engine.connect() as connection:
            if rights and database.sql is Sql.POSTGRESQL:
                await _check_writable(connection)
                await _check_rights(connection)
            found = await connection.run_sync(revision_of)
    if (obstacle := obstacle_of(found, known_revisions())) is not None:
        raise ConfigurationError(obstacle)


async def _check_writable(connection: AsyncConnection) -> None:
    if await connection.scalar(text("SHOW transaction_read_only")) == "on":
        raise StoreUnavailable(
            "the store takes no writes: its server is a standby, or has "
            "default_transaction_read_only; AOI_STORE may name several servers"
        )


async def _check_rights(connection: AsyncConnection) -> None:
    found = await connection.execute(_LACKING, {"tables": [*METADATA.tables]})
    if lacking := found.all():
        user = await connection.scalar(text("SELECT current_user"))
        which = "; ".join(f"{rights} on {table}" for table, rights in lacking)
        raise ConfigurationError(
            f"the store's user {user!r} lacks {which}; as the owner of the tables: "
            f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{user}"'
        )


def obstacle_of(found: str | None, known: Sequence[str]) -> str | None:
    """Why a store at revision ``found`` cannot be used, and the remedy; None when it can.

    ``known``: the revisions of this version, the newest first.
    """
    if found == known[0]:
        return None
    if found is None:
        return "the store's database has no schema yet; run `aoi db upgrade` first"
    if found not in known:
        return (
            f"the store's schema ({found}) is newer than this version of aoi-events, and "
            "`aoi db upgrade` only goes forward; install the version that wrote it, or a newer one "
            f"({DOCUMENTATION}/operations/troubleshooting.md#schema_newer)"
        )
    return (
        f"the store's schema is at {found} and this version needs {known[0]}; run `aoi db upgrade`"
    )


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions of this version, the newest first."""
    names = (path.name for path in (MIGRATIONS / "versions").glob("*.py"))
    return tuple(sorted((name.split("_")[0] for name in names), reverse=True))


def revision_of(connection: Connection) -> str | None:
    """The revision of this database's schema; None if it has no schema."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found
