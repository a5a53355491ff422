"""The schema's versions: bringing a database up to date, and telling whether it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aoi_events.errors import ConfigurationError
from aoi_events.store.engine import Database, database_of
from aoi_events.store.faults import translated
from aoi_events.store.given import Sql
from aoi_events.store.tables import METADATA

__all__ = ["check", "migrate", "obstacle_of", "upgrade", "upgrade_to"]

_MIGRATING = 0x616F6920_6D696772
"""Key of the advisory lock that only one upgrade holds (PostgreSQL)."""

_LACKING: Final = text("""
    SELECT name, string_agg(wanted, ', ' ORDER BY place)
      FROM unnest(CAST(:tables AS text[])) AS name,
           unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS w(wanted, place)
     WHERE to_regclass(name) IS NOT NULL
       AND NOT has_table_privilege(to_regclass(name), wanted)
     GROUP BY name ORDER BY name
""")
"""Our tables, as far as they exist, with the rights on them that this user lacks (PostgreSQL)."""


async def upgrade(url: str) -> None:
    """Bring the database at ``url`` to the schema of this version; the data stays.

    Safe to run by several at once: one works, the others wait and find it done. Raises
    StoreUnavailable, and ConfigurationError when the database is newer than this version.
    """
    # An index on a large table takes as long as it takes.
    database = database_of(url, pool=1, patience=3600.0)
    try:
        await migrate(database)
    finally:
        await database.close()


async def migrate(database: Database) -> None:
    """:func:`upgrade` by an engine that there is already; all of it is one transaction."""
    with translated():
        async with database.writer(), database.engine.begin() as connection:
            if database.sql is Sql.POSTGRESQL:
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                await connection.execute(lock, {"key": _MIGRATING})
            await connection.run_sync(_upgrade)


async def check(database: Database, *, rights: bool = False) -> None:
    """Raises StoreUnavailable, or ConfigurationError when the schema is not this version's.

    ``rights``: or when the store's user may not do there what workers do.
    """
    with translated():
        async with database.engine.connect() as connection:
            if rights and database.sql is Sql.POSTGRESQL:
                await _check_rights(connection)
            found = await connection.run_sync(_revision)
    known = [script.revision for script in _scripts().walk_revisions()]
    if (obstacle := obstacle_of(found, known)) is not None:
        raise ConfigurationError(obstacle)


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
    """Why a store at revision ``found`` cannot be used, with what mends it; None when it can.

    ``known``: the revisions of this version, the newest first.
    """
    if found == known[0]:
        return None
    if found is None:
        return "the store's database has no schema yet; run `aoi db upgrade` first"
    if found not in known:
        return (
            f"the store's schema ({found}) is newer than this version of aoi-events, and "
            "`aoi db upgrade` only goes forward; install the version that wrote it, or a newer one"
        )
    return (
        f"the store's schema is at {found} and this version needs {known[0]}; run `aoi db upgrade`"
    )


def _upgrade(connection: Connection) -> None:
    found = _revision(connection)
    known = [script.revision for script in _scripts().walk_revisions()]
    if found == known[0]:
        return
    if found is not None and found not in known:
        raise ConfigurationError(obstacle_of(found, known))
    upgrade_to(connection, "head")


def upgrade_to(connection: Connection, revision: str) -> None:
    """Run the migrations up to ``revision``, whatever the schema is now."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
