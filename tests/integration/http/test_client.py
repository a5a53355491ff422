"""The HTTP client against servers that mean no good, and names that lead elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from aoi_events.channels.base.http.client import HttpAnswer, HttpClient, NoAnswer
from aoi_events.channels.base.http.settings import OutgoingSettings
from tests.support.limits import WITHIN
from tests.support.receivers import Receiver, Reply

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

HOME = "127.0.0.1/32"


def settings(**changes: Any) -> OutgoingSettings:
    """The policy that allows 127.0.0.1, and no other address that is not public."""
    return OutgoingSettings.model_validate(
        {
            "allow_http": True,
            "ports": [],
            "networks": [HOME],
            "within": 1.0,
            "ack_within": 130.0,
            **changes,
        }
    )


class Names(AbstractResolver):
    """Answers each look-up with the next address of a list, the last one for ever."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """One address."""
        self.asked += 1
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
        ]

    async def close(self) -> None:
        """Nothing to close."""


@asynccontextmanager
async def client_of(
    resolver: AbstractResolver | None = None, **changes: Any
) -> AsyncIterator[HttpClient]:
    """A client, closed at the end."""
    client = HttpClient(settings(**changes), resolver=resolver or Names("127.0.0.1"))
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def server_of(serve: Serve) -> AsyncIterator[str]:
    """A server of octets; its URL. Its tasks end with it."""
    tasks: set[asyncio.Task[Any]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_answer_is_its_status_and_when_to_come_again() -> None:
    """A posted body arrives unchanged, without cookies, and with our User-Agent."""
    async with Receiver() as receiver, client_of() as client:
        receiver.script(Reply(429, {"Retry-After": "3", "Set-Cookie": "a=b"}), Reply(204))
        url = receiver.url("/a%2Fb?c=%41")
        assert await client.post(url, b"body", {"TTL": "5"}) == HttpAnswer(429, "3")
        assert await client.post(url, b"body", {}) == HttpAnswer(204, None)
        first, second = receiver.got
        assert (first.path, first.body, first.headers["TTL"]) == ("/a%2Fb?c=%41", b"body", "5")
        assert first.headers["User-Agent"] == "aoi-events"
        assert "Cookie" not in second.headers


async def test_connections_are_used_again() -> None:
    """Also after an answer with a body; one after the other need one connection."""
    async with Receiver(Reply(200, body=b"x" * 1_000)) as receiver, client_of() as client:
        for _ in range(3):
            assert await client.post(receiver.url(), b"", {}) == HttpAnswer(200, None)
        assert len({got.connection for got in receiver.got}) == 1


async def test_a_silent_host_does_not_hold_up_another() -> None:
    """The other host answers meanwhile, and silence speaks for the URL, not for the host."""
    async with (
        Receiver(Reply(silent=True)) as silent,
        Receiver() as other,
        client_of() as client,
    ):
        waiting = [asyncio.create_task(client.post(silent.url(), b"", {})) for _ in range(5)]
        await silent.next(4)
        assert await client.post(other.url(), b"", {}) == HttpAnswer(201, None)
        assert not any(task.done() for task in waiting)
        none = NoAnswer("no answer within 1 s", works=False, host_works=True)
        assert await asyncio.gather(*waiting) == [none] * 5


@pytest.mark.parametrize(
    "address",
    ["127.0.0.2", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.2", "64:ff9b::7f00:2"],
)
async def test_a_name_that_leads_inside_is_not_followed(address: str) -> None:
    """A device's name may lead anywhere; nothing is sent where it may not, and that is final."""
    async with client_of(Names(address)) as client:
        answer = await client.post("http://push.example.org/", b"secret", {})
    assert isinstance(answer, NoAnswer)
    assert answer.forbidden
    assert "example" not in answer.why
    assert address not in answer.why


async def test_a_literal_address_is_checked_by_the_same_gate() -> None:
    """Were a literal address ever let through where URLs are read, no socket is made for it."""
    async with Receiver(host="127.0.0.2") as receiver, client_of() as client:
        answer = await client.post(receiver.url(), b"", {})
        assert isinstance(answer, NoAnswer)
        assert answer.forbidden
        assert receiver.got == []


async def test_a_name_that_changes_between_check_and_use_gains_nothing() -> None:
    """The first look-up gives a good address, the next one ours: each connection is made from one
    look-up, and it is that address which is checked.
    """
    async with Receiver() as outside:
        outside.default = Reply(201, {"Connection": "close"})
        names = Names("127.0.0.1", "127.0.0.2")
        async with (
            Receiver(host="127.0.0.2", port=outside.port) as inside,
            client_of(names) as client,
        ):
            url = f"http://push.example.org:{outside.port}/"
            assert await client.post(url, b"", {}) == HttpAnswer(201, None)
            assert names.asked == 1
            answer = await client.post(url, b"", {})
            assert names.asked == 2
            assert isinstance(answer, NoAnswer)
            assert answer.forbidden
            assert inside.got == []


async def test_of_several_addresses_only_good_ones_are_tried() -> None:
    """A name with a good and a bad address is reached at the good one."""

    class Both(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            return [*await super().resolve(host, port), *await super().resolve(host, port)]

    async with (
        Receiver() as receiver,
        Receiver(host="127.0.0.2", port=receiver.port) as inside,
        client_of(Both("127.0.0.2", "127.0.0.1")) as client,
    ):
        url = f"http://push.example.org:{receiver.port}/"
        assert await client.post(url, b"", {}) == HttpAnswer(201, None)
        assert (len(receiver.got), len(inside.got)) == (1, 0)


async def test_a_name_without_an_address_passes() -> None:
    """A failed look-up is reported as such, and nothing else."""

    class Nowhere(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            raise OSError(None, f"no {host}")

    async with client_of(Nowhere("127.0.0.1")) as client:
        answer = await client.post("http://push.example.org/", b"", {})
    assert answer == NoAnswer("its name has no address", host_works=False)


async def test_names_are_looked_up_by_the_system_where_nothing_else_is_said() -> None:
    """The library's resolver reads the hosts file, as everything on the machine does."""
    async with Receiver() as receiver:
        client = HttpClient(settings())
        try:
            url = f"http://localhost:{receiver.port}/"
            assert await client.post(url, b"", {}) == HttpAnswer(201, None)
        finally:
            await client.close()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look names up for us, and send anywhere."""
    async with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        async with client_of() as client:
            assert await client.post(receiver.url(), b"", {}) == HttpAnswer(201, None)
        assert (len(proxy.got), len(receiver.got)) == (0, 1)


async def test_redirects_are_answers_and_no_loop() -> None:
    """A host that sends us to itself, or inside, is asked once."""
    async with Receiver() as receiver, client_of() as client:
        receiver.script(Reply(307, {"Location": receiver.url("/loop")}))
        assert await client.post(receiver.url(), b"", {}) == HttpAnswer(307, None)
        assert len(receiver.got) == 1


async def test_megabytes_are_not_read() -> None:
    """Reading of an endless body stops at a limit, and the status counts."""
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()

    async with server_of(pour) as url, client_of() as client:
        assert await client.post(url, b"", {}) == HttpAnswer(201, None)
    assert sent < 20_000_000  # what buffers of sockets hold, not what was announced


async def test_a_compressed_body_is_not_unpacked() -> None:
    """A compressed body is not unpacked."""
    bomb = Reply(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b" + b"x" * 500)
    async with Receiver(bomb) as receiver, client_of() as client:
        assert await client.post(receiver.url(), b"", {}) == HttpAnswer(200, None)


async def test_a_body_that_drips_costs_a_moment() -> None:
    """A slow body does not delay the result after its status arrived."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await reader.read()

    async with server_of(drip) as url, client_of(within=60) as client:
        async with asyncio.timeout(WITHIN):
            assert await client.post(url, b"", {}) == HttpAnswer(201, None)


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"HTTP/1.1 201 Cre",
        b"HTTP/1.1 201 Created\r\nX-Drip: ",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
    ],
)
async def test_a_server_that_never_finishes_its_head_is_given_up(words: bytes) -> None:
    """Silence, and heads that stop half-way, take the time of one request."""

    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        await reader.read()

    async with server_of(stop) as url, client_of(within=0.3) as client:
        answer = await client.post(url, b"", {})
    assert answer == NoAnswer("no answer within 0.3 s", works=False, host_works=True)


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 201 Created\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5_000)) + b"\r\n",
        b"HTTP/1.1 201 Created\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 201 " + b"y" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 2x1 Created\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
    ids=["fields", "field", "reason", "ssh", "tls", "status", "length", "lengths"],
)
async def test_an_answer_that_is_none_passes(words: bytes) -> None:
    """Too many fields, too large ones, or no HTTP at all: refused for now, without a fault."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        await reader.read()

    async with server_of(say) as url, client_of() as client:
        answer = await client.post(url, b"", {})
    assert isinstance(answer, NoAnswer)
    assert not answer.forbidden
    assert (answer.works, answer.host_works) == (False, True)


async def test_nobody_there_and_lines_that_are_cut_pass() -> None:
    """A closed port, and a connection that ends before the answer."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with server_of(cut) as url, client_of() as client:
        answer = await client.post(url, b"", {})
    assert answer == NoAnswer("the connection was lost", works=False, host_works=True)
    async with client_of() as client:
        answer = await client.post(url, b"", {})
    assert answer == NoAnswer("it cannot be reached", host_works=False)


async def test_silence_on_a_connection_from_before_shows_nothing_of_the_host() -> None:
    """The host may be away since then: only a new connection shows that it works."""
    async with Receiver(Reply(silent=True)) as receiver, client_of() as client:
        receiver.script(Reply())
        assert await client.post(receiver.url(), b"", {}) == HttpAnswer(201, None)
        answer = await client.post(receiver.url(), b"", {})
    assert answer == NoAnswer("no answer within 1 s", works=False)


async def test_a_closed_client_sends_nothing() -> None:
    """A closed client refuses new requests, and ends those in progress."""
    async with Receiver(Reply(silent=True)) as receiver, client_of(within=30) as client:
        waiting = asyncio.create_task(client.post(receiver.url(), b"", {}))
        await receiver.next(0)
        await client.close()
        await client.close()
        assert isinstance(await waiting, NoAnswer)
        assert await client.post(receiver.url(), b"", {}) == NoAnswer("the worker is stopping")
        assert len(receiver.got) == 1
