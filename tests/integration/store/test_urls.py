"""Which URLs open which store, and the errors for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events.errors import ConfigurationError
from aoi_events.store.store import open_store
from tests.support.rows import a_client, client_id


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
async def test_a_file_keeps_what_was_committed(scheme: str, tmp_path: Path) -> None:
    """Both spellings open the same file, in write-ahead mode, and it outlives the store."""
    for _ in range(2):
        store = await open_store(f"{scheme}:///{tmp_path / 'aoi.db'}", upgrade=True)
        async with store.transaction() as transaction:
            await transaction.save_clients([a_client(1)])
        await store.close()
    store = await open_store(f"sqlite:///{tmp_path / 'aoi.db'}")
    async with store.transaction(read_only=True) as transaction:
        assert await transaction.clients([client_id(1)]) == {client_id(1): a_client(1)}
    await store.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite+aiosqlite:///:memory:"])
async def test_a_database_in_memory_is_ready_at_once(url: str) -> None:
    """It has its schema, keeps data while it is open, and is another one when opened again."""
    for _ in range(2):
        store = await open_store(url)
        await store.check()
        async with store.transaction() as transaction:
            assert await transaction.clients([client_id(1)]) == {}
            await transaction.save_clients([a_client(1)])
        async with store.transaction(read_only=True) as transaction:
            assert set(await transaction.clients([client_id(1)])) == {client_id(1)}
        await store.close()


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/db", "postgresql+psycopg2://u:hunter2@h/d"]
)
async def test_other_urls_are_refused_with_advice(url: str) -> None:
    """The error names what can be used, and never repeats a password."""
    with pytest.raises(ConfigurationError, match="postgresql://") as caught:
        await open_store(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "rest, advice",
    [
        ("h/d?sslmod=require", "'sslmod'"),
        ("h/d?ssl_mode=require&sslmode=require", "'ssl_mode'"),
        ("h/d?sslmode=bogus", 'invalid sslmode value: "bogus"'),
        ("h/d?channel_binding=maybe", "channel_binding"),
        ("h/d?sslnegotiation=direct&sslmode=disable", "sslnegotiation"),
        ("h/d?sslrootcert=/nowhere.pem", "sslrootcert='/nowhere.pem'"),
        ("h/d?connect_timeout=soon", "connect_timeout='soon'"),
        ("h/d?keepalives_idle=-1", "keepalives_idle='-1'"),
        ("h/d?keepalives_idle=99999999999", "keepalives_idle='99999999999'"),
        ("h/d?ssl=require", "ssl='require'; use sslmode="),
        ("/d?hostaddr=::1,::2&target_session_attrs=any", "target_session_attrs=any; use read-"),
        ("h:70000/d", "70000"),
        ("a..b/d", "the host 'a..b'; it must be a host name or an IP address"),
        ("a:1,b:2/d?port=1,2,3", "3 port numbers to 2 hosts"),
        ("/d?host=a&host=b", "'host' twice; several servers are written as"),
    ],
)
async def test_what_libpq_cannot_use_is_named(rest: str, advice: str) -> None:
    """Unknown names and wrong values of the URL are refused before anything is connected, and
    no part of a password is repeated.
    """
    with pytest.raises(ConfigurationError) as caught:
        await open_store(f"postgresql://aoi:hunter2@{rest}")
    assert advice in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("words", ["ssl=true", "gssencmode=require", "channel_binding=require"])
async def test_what_libpq_can_use_is_taken(words: str) -> None:
    """No value is refused that libpq takes for some server."""
    store = await open_store(f"postgresql://aoi:aoi@h/d?{words}")
    await store.close()


@pytest.mark.parametrize("password", ["hun@ter2", "hun/ter2", "hun?ter2", "hun%ter2"])
async def test_a_password_that_is_not_encoded_is_pointed_out(password: str) -> None:
    """The error says how such characters are written, and repeats no part of the password."""
    with pytest.raises(ConfigurationError, match="%40") as caught:
        await open_store(f"postgresql://aoi:{password}@h/d")
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("pool, patience", [(0, 1.0), (1, 0.0)])
async def test_bounds_are_checked(pool: int, patience: float) -> None:
    """A pool without connections, or no patience at all, is refused."""
    with pytest.raises(ConfigurationError):
        await open_store("sqlite://", pool=pool, patience=patience)
