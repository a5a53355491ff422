"""SQL statements that a test process compiles once: nearly every test opens a store of its own.

SQLAlchemy keeps what it compiled for each engine, so each test would compile the same statements.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.util import LRUCache

_MOST: Final = 2_000
"""Statements to keep, several times those of our store for two databases."""

Key = tuple[Any, ...]


class _ByKindOfDatabase(LRUCache[Key, Any]):
    """Compiled statements, for every engine of the same kind of database.

    A key begins with the dialect, which each engine has its own of: the parts of it that statements
    depend on stand for it.
    """

    def get(self, key: Key, default: Any = None) -> Any:
        return super().get(_shared(key), default)

    def __setitem__(self, key: Key, compiled: Any) -> None:
        super().__setitem__(_shared(key), compiled)


def _shared(key: Key) -> Key:
    dialect = key[0]
    return (type(dialect), dialect.paramstyle, dialect.server_version_info, *key[1:])


_COMPILED: Final = _ByKindOfDatabase(_MOST)


@event.listens_for(Engine, "engine_connect")
def _share(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_COMPILED)
