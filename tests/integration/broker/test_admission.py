from __future__ import annotations

import logging
import secrets

import pytest

from aoi_events import topology as names
from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.broker.rabbitmq.declare import CONSUMER_TIMEOUT
from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.platform.retry import RetryPolicy
from aoi_events.ports.broker import Outbound, Published
from aoi_events.testing.containers import RabbitServer
from aoi_events.testing.ports import free_port
from aoi_events.topology import Queue

ONCE = RetryPolicy(attempts=1)


async def test_a_wrong_password_is_a_configuration_error(
    rabbit_server: RabbitServer, rabbit_vhost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said at once, and the password stands neither in the error nor in any log."""
    caplog.set_level(logging.DEBUG)
    password = secrets.token_hex(8)
    url = rabbit_server.url(rabbit_vhost, password=password)
    with pytest.raises(ConfigurationError, match="user, password and virtual host") as caught:
        await RabbitBroker.connect(url)
    assert password not in str(caught.value)
    assert password not in caplog.text


async def test_an_unknown_virtual_host_is_a_configuration_error(
    rabbit_server: RabbitServer,
) -> None:
    """The error names what to look at."""
    with pytest.raises(ConfigurationError, match="virtual host"):
        await RabbitBroker.connect(rabbit_server.url("no-such-vhost"))


@pytest.mark.parametrize("url", ["http://localhost", "amqp://", "localhost", ""])
def test_what_is_no_broker_url_is_a_configuration_error(url: str) -> None:
    """Whatever else is given, the error shows the form that works."""
    with pytest.raises(ConfigurationError, match="amqp://USER"):
        RabbitBroker(url)


async def test_nobody_listening_is_unavailable_after_some_patience() -> None:
    """A broker that is not there yet is met again and again, then reported with its address."""
    port = free_port()
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}"):
        await RabbitBroker.connect(
            f"amqp://guest:guest@127.0.0.1:{port}/",
            retry_policy=RetryPolicy(first=0.01, most=0.01, jitter=0.0, attempts=3),
        )


async def test_a_role_without_configure_permission_works_on_what_exists(
    rabbit_server: RabbitServer, rabbit_vhost: str, rabbit_url: str
) -> None:
    """Least privilege: declaring becomes checking; what does not exist is a clear error."""
    url = rabbit_server.add_user(rabbit_vhost, "worker", configure="^$")
    worker = await RabbitBroker.connect(url, retry_policy=ONCE)
    with pytest.raises(ConfigurationError, match="aoi"):
        await worker.declare(names.topology())
    admin = await RabbitBroker.connect(rabbit_url, retry_policy=ONCE)
    await admin.declare(names.topology())
    await worker.declare(names.topology())
    results = await worker.publish([Outbound(names.REQUESTS, "client.register", b"x")])
    assert list(results) == [Published.CONFIRMED]
    (message,) = await (await worker.subscribe(Queue(names.REGISTRATION), prefetch=1)).take(1)
    assert message.user_id == "worker"
    await worker.close()
    await admin.close()


async def test_durable_queues_are_declared_to_lose_nothing(
    rabbit_server: RabbitServer, rabbit_vhost: str, rabbit_url: str
) -> None:
    """Quorum, an explicit limit everywhere, dead letters at least once, and the dead are kept; a
    worker that pauses may hold what it took for hours.
    """
    broker = await RabbitBroker.connect(rabbit_url, retry_policy=ONCE)
    await broker.declare(names.topology(["sms"]))
    await broker.close()
    listed = rabbit_server.api("GET", f"/queues/{rabbit_vhost}")
    arguments = {queue["name"]: queue["arguments"] for queue in listed}
    assert len(arguments) == 13
    assert all(queue["durable"] for queue in listed)
    for name, given in arguments.items():
        assert given["x-queue-type"] == "quorum"
        assert given["x-delivery-limit"] >= names.QUARANTINE_DELIVERY_LIMIT
        assert given["x-consumer-timeout"] == CONSUMER_TIMEOUT
        if name == names.DEAD:
            assert given["x-delivery-limit"] > 1_000_000
            assert "x-dead-letter-exchange" not in given
        else:
            assert given["x-dead-letter-exchange"] == names.DEAD_LETTERS
            assert given["x-dead-letter-strategy"] == "at-least-once"
            assert given["x-overflow"] == "reject-publish"
