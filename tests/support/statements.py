"""SQL statements that a test process compiles once: nearly every test opens a store of its own.

SQLAlchemy keeps what it compiled for each engine, so each test would compile the same statements.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, event


class _ByKindOfDatabase(dict[tuple[Any, ...], Any]):
    """Compiled statements, for every engine of the same kind of database.

    A key begins with the dialect, which each engine has its own of, set up as the others of its
    kind.
    """

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        super().__setitem__((type(key[0]), *key[1:]), compiled)


_COMPILED: Final = _ByKindOfDatabase()


@event.listens_for(Engine, "engine_connect")
def _share(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_COMPILED)
