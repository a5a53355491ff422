"""Who may log in to a PostgreSQL server, and how TLS verifies it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from aoi_events.errors import ConfigurationError, StoreUnavailable
from aoi_events.store.store import open_store
from aoi_events.testing.containers import PostgresServer
from aoi_events.testing.ports import free_port
from tests.support.certificates import self_signed
from tests.support.limits import WITHIN

_IN_USE = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that vouches for itself."""
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def tls_server(certificate: Path) -> Iterator[PostgresServer]:
    """A server with TLS, with that certificate for localhost."""
    server = PostgresServer()
    try:
        server.start()
        pem = certificate.read_text()
        put = f"install -o postgres -m 0600 /dev/null /tmp/tls; echo '{pem}' >/tmp/tls"
        assert server.container.exec(["bash", "-c", put]).exit_code == 0
        for setting in ("ssl_cert_file = '/tmp/tls'", "ssl_key_file = '/tmp/tls'", "ssl = on"):
            asyncio.run(server._execute(f"ALTER SYSTEM SET {setting}"))
        asyncio.run(server._execute("SELECT pg_reload_conf()"))
        yield server
    finally:
        server.stop()


@pytest.mark.containers
@pytest.mark.parametrize(
    "words",
    [
        "",
        "?sslmode=require",
        "?sslmode=verify-ca&sslrootcert={certificate}",
        "?sslmode=verify-full&sslrootcert={certificate}&channel_binding=require",
    ],
)
async def test_tls_by_the_words_of_libpq(
    words: str, tls_server: PostgresServer, certificate: Path
) -> None:
    """A server is reached with the TLS that the URL asks for."""
    url = tls_server.url("postgres") + words.format(certificate=certificate)
    store = await open_store(url.replace("127.0.0.1", "localhost"), patience=5.0)
    async with store.transaction(read_only=True) as transaction:
        assert (await transaction._run(text(_IN_USE))).scalar_one() is True
    await store.close()


@pytest.mark.containers
@pytest.mark.parametrize(
    "host, words, reason",
    [
        ("localhost", "?sslmode=verify-full&sslrootcert=system", "certificate verify failed"),
        ("localhost", "?sslmode=verify-ca&sslrootcert={other}", "certificate verify failed"),
        ("localhost", "?sslmode=require&sslrootcert={other}", "certificate verify failed"),
        ("localhost", "?sslmode=verify-full", r"root certificate file .* does not exist"),
        (
            "localhost",
            "?sslmode=require&sslrootcert=/etc/hosts",
            "could not read root certificate file",
        ),
        ("localhost", "?sslmode=require&sslcert={other}", "but not private key file"),
        ("localhost", "?sslmode=require&sslcert={other}&sslkey={certificate}", "private key file"),
        ("127.0.0.2", "?sslmode=verify-full&sslrootcert={certificate}", "does not match host name"),
    ],
)
async def test_a_server_that_tls_does_not_verify(
    host: str,
    words: str,
    reason: str,
    tls_server: PostgresServer,
    certificate: Path,
    tmp_path: Path,
) -> None:
    """A certificate of another authority or for another host is an error of the settings, and so is
    a file with certificates that is missing or cannot be used.
    """
    words = words.format(certificate=certificate, other=self_signed(tmp_path))
    url = tls_server.url("postgres").replace("127.0.0.1", host) + words
    await _is_refused(url, reason)


@pytest.mark.parametrize(
    "change, reason",
    [
        (("aoi:aoi@", "aoi:wrong@"), "password authentication failed"),
        (("aoi:aoi@", "nobody:aoi@"), "password authentication failed"),
        (("/postgres", "/nowhere"), 'database "nowhere" does not exist'),
        (("/postgres", "/postgres?sslmode=require"), "does not support SSL"),
        (("/postgres", "/postgres?options=nonsense"), "invalid command-line argument"),
        (("/postgres", "/postgres?options=-c%20a%3D1"), 'unrecognized configuration parameter "a"'),
        (("/postgres", "/postgres?require_auth=password"), "authentication method requirement"),
    ],
)
async def test_a_login_that_is_refused(
    change: tuple[str, str], reason: str, postgres_server: PostgresServer
) -> None:
    """A wrong password, user or database, or TLS that the server has not, is an error of the
    settings: the process ends with 78.
    """
    await _is_refused(postgres_server.url("postgres").replace(*change), reason)


async def _is_refused(url: str, reason: str) -> None:
    store = await open_store(url, patience=5.0)
    with pytest.raises(ConfigurationError, match=f"{reason}.*AOI_STORE"):
        await store.check()
    await store.close()


async def test_a_name_with_an_address_that_refuses(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password is an error of the settings also where the name of the server has another
    address, at which nothing answers: as localhost has, for a server without IPv6.
    """

    async def two_addresses(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (address, 0)) for address in ("::2", "127.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two_addresses)
    url = postgres_server.url("postgres").replace("aoi:aoi", "aoi:wrong")
    await _is_refused(url.replace("127.0.0.1", "localhost"), "password authentication failed")


@pytest.mark.parametrize(
    "words", ["client_encoding=latin1", "options=-c%20client_encoding%3Dlatin1"]
)
async def test_texts_are_utf8_in_any_case(words: str, postgres_server: PostgresServer) -> None:
    """Another encoding of the URL does not change what is stored."""
    store = await open_store(f"{postgres_server.url('postgres')}?{words}")
    async with store.transaction(read_only=True) as transaction:
        found = await transaction._run(
            text("SELECT CAST(:one AS text), (CAST(:many AS text[]))[1]"),
            {"one": "ä日", "many": ["ä日"]},
        )
        assert tuple(found.one()) == ("ä日", "ä日")
    await store.close()


async def test_a_service_names_the_servers(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service of libpq may name several servers, and which of them counts."""
    services = tmp_path / "services"
    services.write_text(
        f"[push]\nhost=127.0.0.1,127.0.0.1\nport={free_port()},{postgres_server.port}\n"
        "user=aoi\npassword=aoi\ndbname=postgres\ntarget_session_attrs=read-write\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    store = await open_store("postgresql:///?service=push")
    async with store.transaction(read_only=True) as transaction:
        assert (await transaction._run(text("SELECT 1"))).scalar_one() == 1
    await store.close()
    services.write_text(services.read_text().replace("=read-write", "=standby"))
    store = await open_store("postgresql:///?service=push")
    with pytest.raises(StoreUnavailable):
        await store.check()
    await store.close()


async def test_a_server_that_never_answers_is_named() -> None:
    """What accepts the connection and is silent is named once the time for connecting is over."""
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    async with server, asyncio.timeout(WITHIN):
        port = server.sockets[0].getsockname()[1]
        store = await open_store(f"postgresql://aoi:aoi@127.0.0.1:{port}/aoi", patience=2.0)
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} does not answer within 2 s"):
            await store.check()
        await store.close()
        for writer in accepted:
            writer.close()
