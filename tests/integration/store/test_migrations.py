"""The schema that migrations make is the one that the code believes in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from aoi_events.errors import ConfigurationError, StoreUnavailable
from aoi_events.store import records
from aoi_events.store.engine import database_of
from aoi_events.store.indexes import METADATA
from aoi_events.store.migration import upgrade
from aoi_events.store.records import RecordMapping
from aoi_events.store.store import open_store
from aoi_events.testing.ports import free_port
from tests.support.containers import in_containers

UPGRADE = """
import asyncio, sys
from aoi_events.store.migration import upgrade
asyncio.run(upgrade(sys.argv[1]))
"""
_POSTGRES_SCHEMA = """
    SELECT 'column', c.relname || '.' || a.attname, concat_ws(' ', format_type(atttypid, atttypmod),
           (SELECT collname FROM pg_collation o WHERE o.oid = attcollation),
           attnotnull::text, attidentity::text)
      FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
       AND NOT attisdropped
    UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
     WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
"""
_SQLITE_SCHEMA = "SELECT type, name, sql FROM sqlite_master"


def _schema(connection: Connection) -> set[tuple[str, ...]]:
    """Everything that the database knows of its tables, as text, without Alembic's own."""
    sqlite = connection.dialect.name == "sqlite"
    rows = connection.execute(text(_SQLITE_SCHEMA if sqlite else _POSTGRES_SCHEMA)).all()
    found = [
        tuple("".join(str(part).split()) for part in row)
        for row in rows
        if "alembic" not in str(row[1]) and "alembic" not in str(row[2])
    ]
    # SQLite keeps a table's own words, to which a later column is appended.
    return (
        {part for kind, name, sql in found for part in _parts(kind, name, sql)}
        if sqlite
        else set(found)
    )


def _parts(kind: str, name: str, sql: str) -> Iterator[tuple[str, ...]]:
    """The columns and constraints of a table of SQLite, each for itself."""
    if kind != "table":
        yield kind, name, sql
        return
    depth, part = 0, ""
    for letter in sql[sql.index("(") + 1 : -1]:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            yield name, part
            part = ""
        else:
            part += letter
    yield name, part


async def test_migrations_make_what_the_tables_say(empty_url: str) -> None:
    """Every table, column, constraint and index is the same, by migrations or from the metadata."""
    database = database_of(empty_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
        declared = await connection.run_sync(_schema)
        await connection.run_sync(METADATA.drop_all)
    await upgrade(empty_url)
    async with database.engine.begin() as connection:
        migrated = await connection.run_sync(_schema)
        changes = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), METADATA)
        )
    await database.engine.dispose()
    assert migrated == declared
    assert changes == []
    assert len(migrated) > 30


@pytest.mark.parametrize(
    "kept",
    [kept for kept in vars(records).values() if isinstance(kept, RecordMapping)],
    ids=lambda kept: kept.table.name,
)
def test_every_field_has_its_column(kept: RecordMapping[object]) -> None:
    """A field that a record gains cannot be forgotten in its table, nor the other way round."""
    names = {field.name for field in fields(kept.record)}  # type: ignore[arg-type]
    assert {column.name for column in kept.table.columns} == names | set(kept.derived)


async def test_upgrades_at_once_are_one(empty_url: str) -> None:
    """Several processes that upgrade at the same time all succeed, and so does one more."""
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", UPGRADE, empty_url)
        for _ in range(4)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0, 0]
    await upgrade(empty_url)
    store = await open_store(empty_url)
    await store.check()
    await store.close()


@pytest.mark.parametrize("empty_url", [in_containers("postgresql")], indirect=True)
async def test_an_interrupted_index_is_built_anew(empty_url: str) -> None:
    """An upgrade that was interrupted while PostgreSQL built an index left the columns and an index
    that is not valid; the next upgrade replaces it.
    """
    await upgrade(empty_url)
    database = database_of(empty_url)
    valid = text(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'provider_messages_folded'::regclass"
    )
    async with database.engine.begin() as connection:
        before = await connection.run_sync(_schema)
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        await connection.execute(
            text(
                "UPDATE pg_index SET indisvalid = false "
                "WHERE indexrelid = 'provider_messages_folded'::regclass"
            )
        )
    await upgrade(empty_url)
    async with database.engine.begin() as connection:
        assert await connection.scalar(valid)
        assert await connection.run_sync(_schema) == before
    await database.engine.dispose()


async def upgrade_several(folder: Path, prefix: str) -> None:
    """Upgrade three databases at once, and see that each has the schema."""
    urls = [f"sqlite:///{folder / f'{prefix}{number}.sqlite3'}" for number in range(3)]
    await asyncio.gather(*(upgrade(url) for url in urls))
    for url in urls:
        store = await open_store(url)
        await store.check()
        await store.close()


async def test_upgrades_of_several_databases_in_one_process(tmp_path: Path) -> None:
    """Each migration works on its own database, also beside others of other tasks and threads."""
    await asyncio.gather(
        upgrade_several(tmp_path, "a"),
        asyncio.to_thread(asyncio.run, upgrade_several(tmp_path, "b")),
    )


async def test_an_empty_database_is_refused(empty_url: str) -> None:
    """Without a schema the check names the command that makes one."""
    store = await open_store(empty_url)
    with pytest.raises(ConfigurationError, match="aoi db upgrade"):
        await store.check()
    await store.close()


async def test_a_schema_from_the_future_is_refused(empty_url: str) -> None:
    """Neither the check nor an upgrade touches a schema that this version does not know."""
    await upgrade(empty_url)
    database = database_of(empty_url)
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'zzzz'"))
    await database.engine.dispose()
    store = await open_store(empty_url)
    with pytest.raises(ConfigurationError, match="newer than this version"):
        await store.check()
    await store.close()
    with pytest.raises(ConfigurationError, match="newer than this version"):
        await upgrade(empty_url)


async def test_upgrading_without_a_server_is_an_infrastructure_error() -> None:
    """A server that is not there is StoreUnavailable, for the check as for the upgrade."""
    url = f"postgresql://aoi:aoi@127.0.0.1:{free_port()}/aoi"
    with pytest.raises(StoreUnavailable, match="refused"):
        await upgrade(url)
    store = await open_store(url)
    with pytest.raises(StoreUnavailable):
        await store.check()
    await store.close()
