"""A broker with several addresses: one that is dead, silent or lost costs a moment."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from aoi_events.broker.open import open_broker
from aoi_events.broker.rabbitmq import addresses
from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.ports.broker import Outbound
from aoi_events.publishing import Publisher
from aoi_events.testing.ports import free_port
from aoi_events.topology import Queue, Topology
from tests.acceptance.daemon.cutting_proxy import CuttingProxy
from tests.integration.broker.test_private_ca import HEADER
from tests.support.certificates import self_signed
from tests.support.limits import WITHIN

ONCE = RetryPolicy(attempts=1)
QUEUE = Queue("addresses")


@pytest.fixture(autouse=True)
def _in_the_order_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first numbers of this seed grow, so the first address is the first one to be tried."""
    numbers = Random(5)
    order = [numbers.random() for _ in range(4)]
    assert order == sorted(order)
    monkeypatch.setattr(addresses, "random", Random(5))


@pytest.fixture
def quiet() -> Iterator[str]:
    """An address that takes connections and says nothing, as a node that was stopped does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def address_of(proxy: CuttingProxy) -> str:
    """Its host and port."""
    return proxy.url().removeprefix("ws://").partition("/")[0]


def with_hosts(url: str, *hosts: str) -> str:
    """The URL with other hosts, and with ``HERE`` for its own."""
    user, _, rest = url.partition("@")
    here, slash, vhost = rest.partition("/")
    return f"{user}@{','.join(hosts).replace('HERE', here)}{slash}{vhost}"


async def test_addresses_that_are_dead_cost_a_moment(rabbit_url: str, quiet: str) -> None:
    """One refuses, one is silent, one is no name: the connections are made to the next."""
    dead = f"127.0.0.1:{free_port()}"
    async with asyncio.timeout(WITHIN):
        url = with_hosts(rabbit_url, "no-such.invalid", dead, quiet, "HERE")
        broker = await open_broker(url, retry_policy=ONCE)
        await broker.declare(Topology((), (QUEUE,)))
        await broker.close()
        async with Publisher(url) as publisher:
            assert publisher.sender == broker.user


async def test_an_error_names_every_address_and_no_secret(quiet: str) -> None:
    """It is one line that says why each failed."""
    url = with_hosts("amqp://u:hidden@x/v", "no-such.invalid", "127.0.0.1:1", quiet)
    with pytest.raises(BrokerUnavailable) as caught:
        await open_broker(url, retry_policy=ONCE)
    named = str(caught.value).split("; ")
    assert named[0].startswith("connecting to no-such.invalid:5672: ")
    assert named[1:] == [
        "connecting to 127.0.0.1:1: Connection refused",
        f"connecting to {quiet}: no answer within {addresses.CONNECT_WITHIN:g} s",
    ]
    assert "hidden" not in str(caught.value)


async def test_a_refusal_is_a_wrong_setting_wherever_it_comes_from(rabbit_url: str) -> None:
    """A node that lets the user not in says more than one that is away."""
    url = with_hosts(rabbit_url, "127.0.0.1:1", "HERE").replace("@", "-wrong@")
    with pytest.raises(ConfigurationError, match=r"Connection refused; .*check user, password"):
        await open_broker(url)


async def test_after_a_lost_connection_the_next_address_is_tried_at_once(
    rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No attempt fails and no pause is made; when the second is lost, the first is used again."""
    host = with_hosts(rabbit_url, "HERE").partition("@")[2]
    first, second = [await CuttingProxy(f"amqp://{host}").start() for _ in range(2)]
    url = with_hosts(rabbit_url, address_of(first), address_of(second))
    caplog.set_level(logging.INFO)
    broker = await open_broker(url, retry_policy=ONCE)
    await broker.declare(Topology((), (QUEUE,)))
    subscription = await broker.subscribe(QUEUE, prefetch=1)
    async with asyncio.timeout(WITHIN):
        for lost, number in ((first, b"1"), (second, b"2")):
            caplog.clear()
            lost.cut()
            messages = [Outbound("", QUEUE.name, number)]
            await retry(partial(broker.publish, messages), policy=RetryPolicy())
            (taken,) = await subscription.take(1)
            while taken.body != number:  # a publish whose confirm was lost came twice
                await subscription.ack([taken])
                (taken,) = await subscription.take(1)
            await subscription.ack([taken])
            events = [
                (record.getMessage(), record.__dict__.get("broker")) for record in caplog.records
            ]
            other = address_of(second if lost is first else first)
            assert events.count(("broker_connection_lost", address_of(lost))) == 2
            assert events.count(("broker_connected_again", other)) == 2
            assert "broker_not_reached" not in dict(events)
            lost.restore()
    await broker.close()
    await first.stop()
    await second.stop()


async def test_tls_checks_the_name_of_the_address_that_is_tried(tmp_path: Path) -> None:
    """Of two addresses of one server, the one whose name its certificate lacks is refused before
    anything is said, and the other is used.
    """
    certificate = self_signed(tmp_path)
    said: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.read(len(HEADER)))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(serve, "0.0.0.0", 0, ssl=context) as server:  # noqa: S104
        port = server.sockets[0].getsockname()[1]
        url = f"amqps://u:p@127.0.0.2:{port},127.0.0.1:{port}/v?cafile={certificate}"
        with pytest.raises(BrokerUnavailable) as caught:
            await open_broker(url, retry_policy=ONCE)
    wrong, right = str(caught.value).split("; ")
    assert wrong.startswith(f"connecting to 127.0.0.2:{port}")
    assert "IP address mismatch" in wrong
    assert right.startswith(f"connecting to 127.0.0.1:{port}")
    assert said == [HEADER]


async def test_a_node_that_hangs_behind_tls_costs_no_more(tmp_path: Path) -> None:
    """One that ends the handshake and then says nothing, not even goodbye, is left after 4 s."""
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang() -> socket.socket:
            return context.wrap_socket(listening.accept()[0], server_side=True)

        hanging = asyncio.ensure_future(asyncio.to_thread(hang))
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        since = loop.time()
        with pytest.raises(BrokerUnavailable, match=r"no answer within 4 s; .*Connection refused"):
            await open_broker(
                f"amqps://u:p@{address},127.0.0.1:1/v?cafile={certificate}", retry_policy=ONCE
            )
        assert loop.time() - since < 2 * addresses.CONNECT_WITHIN
        (await hanging).close()
