"""Floods, slow senders, and octets that are no HTTP: the right status, and nobody else suffers."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.integration.endpoint.conftest import OpenServer
from tests.integration.endpoint.server_under_test import ServerUnderTest
from tests.support.counts import counted
from tests.support.limits import WITHIN

AES128GCM = b"Content-Encoding: aes128gcm\r\n"
REQUEST = b"POST /wpush/v1/k1.x HTTP/1.1\r\nHost: x\r\nTTL: 1\r\n"


def status_of(answer: bytes) -> int | None:
    """The status that came back, if any."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


@pytest.mark.parametrize(
    "octets, status",
    [
        (REQUEST + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (REQUEST + b"X: " + b"y" * 300_000, 431),
        (REQUEST + (b"X: " + b"y" * 3_000 + b"\r\n") * 6 + b"\r\n", 431),
        (REQUEST + b"x: y\r\n" * 65 + b"\r\n", 431),
        (REQUEST + b"x: y\r\n" * 60_000, 431),
        (b"POST /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"POST /" + b"x" * 100_000, 431),
        (REQUEST + b"y" * 17_000, 431),
        (b"\r\n" * 9_000, 431),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 65, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GARBAGE\r\n\r\n", 400),
        (b"\x00" * 100, 400),
        (b"POST / HTTP/9.9\r\n\r\n", 400),
        (b"POST /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (REQUEST + b"Content-Length: -1\r\n\r\n", 400),
        (REQUEST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (REQUEST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (REQUEST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n", 400),
        (REQUEST + b"Bad\x00Name: 1\r\n\r\n", 400),
        (REQUEST + b"Folded: a\r\n\tb\r\n\r\n", None),
    ],
)
async def test_heads_that_are_none_or_too_much(
    server: ServerUnderTest, octets: bytes, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """431 for what is beyond the bounds, 400 for what is no HTTP; nothing is logged of either, and
    the next request is served.
    """
    caplog.clear()
    answer = await server.raw(octets, eof=status is None)
    if status is not None:
        assert status_of(answer) == status, answer[:200]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    device = await server.system.device()
    assert (await server.push(device.token)).status == 201


@pytest.mark.parametrize(
    "octets, status",
    [
        (b"", None),
        (b"POST /wpush/v1/k1.x HT", 408),
        (REQUEST, 408),
        (REQUEST + b"Content-Length: 10\r\n\r\nx", 408),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", 408),
    ],
)
async def test_the_slow_are_sent_away(
    open_server: OpenServer, octets: bytes, status: int | None
) -> None:
    """A connection that says nothing, a head and a body that never end: bounded in time."""
    server = await open_server(endpoint={"head_within": 0.2, "body_within": 0.2})
    assert status_of(await server.raw(octets)) == status


async def test_an_idle_connection_ends(open_server: OpenServer) -> None:
    """An idle connection is closed after its time limit."""
    server = await open_server(endpoint={"keep_alive": 1})
    answer = await server.raw(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) == 200


async def test_a_head_that_drips_behind_an_answer_ends_too(open_server: OpenServer) -> None:
    """The second request of a connection is bounded as the first is."""
    server = await open_server(endpoint={"head_within": 0.2})
    answer = await server.raw(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\nGET /openapi.json HT")
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 408 " in answer


async def test_connections_are_bounded(open_server: OpenServer) -> None:
    """One more than may be is closed at once; when one ends, there is room again."""
    server = await open_server(endpoint={"max_connections": 3})
    open_ones = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
    for _, writer in open_ones:
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    for reader, _ in open_ones:
        async with asyncio.timeout(WITHIN):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    with pytest.raises((ConnectionError, AssertionError)):
        assert await server.raw(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    for _, writer in open_ones:
        writer.close()
        await writer.wait_closed()

    async def served() -> bool:
        try:
            return (await server.ask("GET", "/openapi.json")).status == 200
        except (ConnectionError, OSError):
            return False

    await server.system.until(served, bool)


async def standing(server: ServerUnderTest, host: str) -> asyncio.StreamWriter | None:
    """A connection from that address that is served and stays; None where it is closed at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(host, 0))
    writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(WITHIN):
        try:
            line = await reader.readline()
        except ConnectionError:
            line = b""
    if line:
        assert line.startswith(b"HTTP/1.1 200 ")
        return writer
    writer.close()
    return None


async def test_connections_of_an_address_are_bounded(open_server: OpenServer) -> None:
    """One address cannot have them all: others are served, and when one ends there is room again;
    a proxy speaks for many, and may have more.
    """
    server = await open_server(
        endpoint={"connections_per_address": 2, "proxies": ("127.0.0.4",), "max_connections": 20}
    )
    mine = [await standing(server, "127.0.0.2") for _ in range(3)]
    assert [each is not None for each in mine] == [True, True, False]
    others = [await standing(server, f"127.0.0.{host}") for host in (3, 4, 4, 4)]
    assert None not in others
    assert mine[0] is not None
    mine[0].close()

    async def served() -> bool:
        found = await standing(server, "127.0.0.2")
        mine.append(found)
        return found is not None

    await server.system.until(served, bool)
    for writer in (*mine[1:], *others):
        if writer is not None:
            writer.close()


async def test_a_sender_is_bounded(open_server: OpenServer) -> None:
    """429 with the seconds to wait, for the sender that sends too much and for no other."""
    server = await open_server(endpoint={"sender_per_second": 0.5, "sender_burst": 3})
    body = {"tokens": ["k1.x"], "content": {"data": "x"}}
    assert [(await server.api("POST", json=body)).status for _ in range(4)] == [422, 422, 422, 429]
    reply = await server.api("POST", json=body)
    assert (reply.json["code"], reply.headers["Retry-After"]) == ("quota_exceeded", "2")
    assert (await server.api("POST", json=body, key="bank")).status == 422
    server.system.clock.advance(2)
    assert (await server.api("POST", json=body)).status == 422


async def test_an_address_is_bounded(open_server: OpenServer) -> None:
    """429 for an address that asks too much, before anything else is looked at; behind a proxy that
    is believed, the address is the one that it names.
    """
    settings = {"address_per_second": 1, "address_burst": 2, "proxies": ["127.0.0.1"]}
    server = await open_server(endpoint=settings)
    one, two = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
    for status in (404, 404, 429):
        reply = await server.ask("POST", "/wpush/v1/forged", headers=one | {"TTL": "1"})
        assert reply.status == status
    assert reply.errno == 201
    assert reply.headers["Retry-After"] == "1"
    assert (await server.ask("POST", "/wpush/v1/forged", headers=two | {"TTL": "1"})).status == 404


async def test_the_nearest_untrusted_address_is_counted(open_server: OpenServer) -> None:
    """Behind two trusted proxies, the address is the last one in X-Forwarded-For that is no proxy;
    what a sender wrote before it, a port, and an address that varies within a /64 change nothing.
    """
    server = await open_server(
        endpoint={"address_burst": 1, "proxies": ["127.0.0.0/8", "192.0.2.0/24"]}
    )
    for values, status in (
        (["198.51.100.7, 192.0.2.9"], 404),
        (["203.0.113.1, 198.51.100.7:4711", "192.0.2.9"], 429),
        (["[2001:db8::1]:80"], 404),
        (["2001:db8::2"], 429),
        ([""], 404),
        (["192.0.2.9"], 404),
    ):
        fields = "".join(f"X-Forwarded-For: {value}\r\n" for value in values)
        head = f"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"
        assert status_of(await server.raw(head.encode())) == status, values


async def test_no_proxy_is_believed_unasked(open_server: OpenServer) -> None:
    """Without a configured proxy, X-Forwarded-For does not change the counted address."""
    server = await open_server(endpoint={"address_per_second": 1, "address_burst": 1})
    statuses = [
        (await server.ask("GET", "/x", headers={"X-Forwarded-For": f"192.0.2.{n}"})).status
        for n in range(2)
    ]
    assert statuses == [404, 429]


async def test_a_hundred_at_once_are_all_answered(server: ServerUnderTest) -> None:
    """Many senders at once are all served, each with its own answer."""
    device = await server.system.device()
    replies = await asyncio.gather(*(server.push(device.token) for _ in range(100)))
    assert {reply.status for reply in replies} == {201}
    assert len({reply.headers["Location"] for reply in replies}) == 100


async def test_nonsense_behind_a_request_is_no_fault_of_ours(
    server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that breaks off into nonsense, and nonsense behind a request that is being handled:
    400, the connection ends, and no task is left that would fail later.
    """
    device = await server.system.device()
    good = f"POST /wpush/v1/{device.token} HTTP/1.1\r\nHost: x\r\nTTL: 1\r\n"
    for octets in (
        good + "Content-Length: 0\r\n\r\n\x00\x01 nonsense\r\n\r\n",
        good + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\nZZ\r\n\r\n",
    ):
        assert b"HTTP/1.1 400 " in await server.raw(octets.encode())
    assert (await server.push(device.token)).status == 201
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_trailers_without_end_are_refused(server: ServerUnderTest) -> None:
    """Fields behind a chunked body are limited as those of a head are, however slowly they come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(REQUEST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    async with asyncio.timeout(WITHIN):
        answer = asyncio.ensure_future(reader.read())
        while not answer.done():
            writer.write(b"x: " + b"y" * 1_000 + b"\r\n")
            await asyncio.sleep(0)
    writer.close()
    assert status_of(await answer) == 431


async def test_a_body_is_awaited_until_it_is_wanted(server: ServerUnderTest) -> None:
    """RFC 9110, 10.1.1: a sender that waits for 100 gets it, or is refused without its body."""
    device = await server.system.device()
    head = (
        f"POST /wpush/v1/{device.token} HTTP/1.1\r\nHost: x\r\nTTL: 1\r\nConnection: close\r\n"
        "Content-Encoding: aes128gcm\r\nExpect: 100-continue\r\nContent-Length: "
    )
    answer = await server.raw(f"{head}5\r\n\r\nhello".encode())
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")
    assert status_of(await server.raw(f"{head}5000\r\n\r\n".encode())) == 413


@pytest.mark.parametrize("path", ["/openapi.json", "/nothing", "/v1/notifications/abc"])
async def test_an_expectation_that_is_unknown_is_a_request_as_any_other(
    open_server: OpenServer, path: str
) -> None:
    """RFC 9110, 10.1.1: 417, counted and limited as others, without a word about the server."""
    server = await open_server(endpoint={"address_burst": 2, "address_per_second": 0.001})
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: foo\r\n\r\n"
    answers = [await server.raw(request.encode()) for _ in range(3)]
    # Where an API has a handler, it ignores what it does not know.
    first = {"/openapi.json": 200, "/nothing": 417, "/v1/notifications/abc": 401}[path]
    assert [status_of(answer) for answer in answers] == [first, first, 429]
    assert b"\r\nserver:" not in b"".join(answers).lower()
    metrics = server.system.installation.metrics
    await counted(metrics, 2, "aoi_endpoint_requests_total", status=str(first))


async def test_a_body_that_breaks_off_while_it_is_discarded_is_not_logged(
    server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """It was answered with 413 before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    writer.write(REQUEST + AES128GCM + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    async with asyncio.timeout(WITHIN):
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"zz\r\n")
        await reader.read()
    writer.close()
    assert status_of(answer) == 413
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_slow_sender_of_too_much_gets_its_answer(open_server: OpenServer) -> None:
    """What follows a refusal is read for as long as a body may take, so the answer is not lost."""
    server = await open_server(endpoint={"body_within": 60})
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(REQUEST + AES128GCM + b"Content-Length: 600000\r\n\r\n")
    async with asyncio.timeout(WITHIN):
        for _ in range(24):
            writer.write(b"x" * 25_000)
            await writer.drain()
            await asyncio.sleep(0.06)  # in all longer than other refusals are lingered over
        answer = await reader.read()
    writer.close()
    assert status_of(answer) == 413


async def test_url_and_fields_count_together(server: ServerUnderTest) -> None:
    """The size of a head is that of all of it, whether it comes at once or in parts."""
    head = b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\nX: "
    rest = b"y" * 10_000 + b"\r\nConnection: close\r\n\r\n"
    assert status_of(await server.raw(head + rest)) == 431
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head)
    await writer.drain()
    writer.write(rest)
    async with asyncio.timeout(WITHIN):
        assert status_of(await reader.read()) == 431
    writer.close()


async def test_many_pipelined_requests_leave_an_idle_connection(open_server: OpenServer) -> None:
    """More requests than are parsed at once: each is answered, and no head is missed after them."""
    server = await open_server(endpoint={"head_within": 0.2, "keep_alive": 1})
    answer = await server.raw(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
    assert answer.count(b"HTTP/1.1 200 ") == 40
    assert b"HTTP/1.1 408 " not in answer


async def test_a_request_to_upgrade_is_answered_and_closes(server: ServerUnderTest) -> None:
    """Nothing is upgraded here; what follows such a request is no head that would be too large."""
    device = await server.system.device()
    push = f"POST /wpush/v1/{device.token} HTTP/1.1\r\nHost: x\r\nTTL: 1\r\n"
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"
    rest = f"{push}Content-Length: 20000\r\n\r\n{'x' * 20_000}"
    answer = await server.raw(f"{push}{upgrade}{rest}".encode())
    assert status_of(answer) == 201
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_pipelined_requests_are_answered_in_order(server: ServerUnderTest) -> None:
    """RFC 9112, 9.3.2."""
    device = await server.system.device()
    one = f"POST /wpush/v1/{device.token} HTTP/1.1\r\nHost: x\r\nTTL: 1\r\nContent-Length: 0\r\n"
    two = "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = await server.raw(f"{one}\r\n{two}\r\n".encode())
    assert answer.index(b"HTTP/1.1 201 ") < answer.index(b"HTTP/1.1 404 ")


async def test_the_body_of_a_request_that_waits_may_come_in_parts(server: ServerUnderTest) -> None:
    """A request behind one that is being handled is read on meanwhile, and answered after it."""
    device = await server.system.device()
    head = f"POST /wpush/v1/{device.token} HTTP/1.1\r\nHost: x\r\nTTL: 1\r\n"
    sealed = "Content-Encoding: aes128gcm\r\nContent-Length: 200\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{head}Content-Length: 0\r\n\r\n{head}Connection: close\r\n{sealed}".encode())
    for _ in range(200):
        writer.write(b"x")
        await asyncio.sleep(0)
    async with asyncio.timeout(WITHIN):
        answer = await reader.read()
    writer.close()
    assert answer.count(b"HTTP/1.1 201 ") == 2, answer


async def test_secrets_do_not_reach_the_log(
    server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """Log lines about failures contain neither tokens nor keys nor content."""
    caplog.set_level(logging.DEBUG, logger="aoi_events.endpoint")
    device = await server.system.device()
    await server.push(device.token, b"5ec7e7-content")
    await server.push("5ec7e7-token", b"5ec7e7-content", Authorization="vapid t=5ec7e7, k=5ec7e7")
    await server.api("POST", data=b"5ec7e7", headers={"Authorization": "Bearer 5ec7e75ec7e75ec7e7"})
    for secret in ("5ec7e7", device.token, server.api_key()):
        assert secret not in caplog.text
