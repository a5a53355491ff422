"""What the broker refuses to each role, tried with that role's own password."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ProbableAuthenticationError

from tests.acceptance.compose.stack import Stack

pytestmark = pytest.mark.timeout(600)

REFUSED = 403
Attempt = Callable[[BlockingChannel], object]


def consume(queue: str) -> Attempt:
    """Take somebody's messages."""
    return lambda amqp_channel: amqp_channel.basic_get(queue)


def publish(exchange: str, key: str) -> Attempt:
    """Publish, and wait for the broker's word."""

    def attempt(amqp_channel: BlockingChannel) -> None:
        amqp_channel.confirm_delivery()
        amqp_channel.basic_publish(exchange, key, b"{}")

    return attempt


def declare(queue: str) -> Attempt:
    """Make a queue."""
    return lambda amqp_channel: amqp_channel.queue_declare(queue, durable=True)


def delete(queue: str) -> Attempt:
    """Delete a queue with all that is in it."""
    return lambda amqp_channel: amqp_channel.queue_delete(queue)


def overhear(queue: str, pattern: str) -> Attempt:
    """Bind a queue of one's own to the facts of others."""

    def attempt(amqp_channel: BlockingChannel) -> None:
        amqp_channel.queue_declare(queue, exclusive=True)
        amqp_channel.queue_bind(queue, "aoi.events", pattern)

    return attempt


def connected(stack: Stack, passwords: dict[str, str], user: str) -> pika.BlockingConnection:
    """A connection of that user."""
    where = urlsplit(f"amqp://{stack.variables['PUBLISH_AMQP']}")
    assert where.hostname is not None
    assert where.port is not None
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            where.hostname,
            where.port,
            "aoi",
            pika.PlainCredentials(user, passwords.get(user, user)),
            socket_timeout=10,
            blocked_connection_timeout=10,
        )
    )


@pytest.mark.parametrize(
    "user,attempt",
    [
        pytest.param("shop", consume("aoi.outcome"), id="shop-reads-outcomes"),
        pytest.param("shop", publish("aoi.requests", "client.register"), id="shop-as-a-device"),
        pytest.param("shop", publish("aoi.requests", "client.connected"), id="shop-as-a-gateway"),
        pytest.param("shop", publish("aoi.events", "notification.delivered.shop"), id="shop-lies"),
        pytest.param("shop", publish("", "aoi.outcome"), id="shop-writes-into-a-queue"),
        pytest.param("shop", declare("aoi.reply.bank.answers"), id="shop-takes-anothers-name"),
        pytest.param("shop", overhear("aoi.reply.shop.all", "#"), id="shop-overhears-all"),
        pytest.param(
            "shop", overhear("aoi.reply.shop.bank", "notification.*.bank"), id="shop-overhears-bank"
        ),
        pytest.param("aoi-outcome", consume("aoi.registration"), id="outcome-reads-registrations"),
        pytest.param(
            "aoi-outcome", publish("aoi.requests", "notification.send"), id="outcome-sends"
        ),
        pytest.param("aoi-outcome", delete("aoi.outcome"), id="outcome-deletes-its-queue"),
        pytest.param("aoi-registration", declare("aoi.more"), id="registration-makes-a-queue"),
        pytest.param(
            "aoi-registration", publish("aoi.events", "notification.delivered.shop"), id="hearsay"
        ),
        pytest.param(
            "aoi-gateway", publish("aoi.requests", "notification.send"), id="gateway-as-a-backend"
        ),
        pytest.param("aoi-gateway", consume("aoi.delivery.sms"), id="gateway-reads-sms"),
        pytest.param(
            "aoi-endpoint", publish("aoi.requests", "client.register"), id="endpoint-as-a-device"
        ),
        pytest.param("aoi-endpoint", publish("", "aoi.outcome"), id="endpoint-reports-outcomes"),
        pytest.param("aoi-sms", publish("aoi.requests", "channel.confirm"), id="sms-proves"),
        pytest.param("aoi-sms", consume("aoi.outcome"), id="sms-reads-outcomes"),
        pytest.param("aoi-deadlines", consume("aoi.notification"), id="deadlines-reads-requests"),
        pytest.param("aoi-setup", publish("aoi.requests", "notification.send"), id="setup-sends"),
        pytest.param("operator", consume("aoi.dead"), id="operator-reads-a-queue"),
    ],
)
def test_the_broker_refuses_what_is_not_a_roles_work(
    stack: Stack, passwords: dict[str, str], user: str, attempt: Attempt
) -> None:
    """Each role is refused, by the broker itself, what another role does."""
    connection = connected(stack, passwords, user)
    try:
        with pytest.raises(ChannelClosedByBroker) as refusal:
            attempt(connection.channel())
        assert refusal.value.reply_code == REFUSED
    finally:
        connection.close()


def test_an_application_server_hears_of_its_own(stack: Stack, passwords: dict[str, str]) -> None:
    """`shop` may make a durable queue of its own and bind it to the facts about what it sent."""
    connection = connected(stack, passwords, "shop")
    try:
        amqp_channel = connection.channel()
        amqp_channel.queue_declare("aoi.reply.shop.audit", durable=True)
        amqp_channel.queue_bind("aoi.reply.shop.audit", "aoi.events", "notification.*.shop")
        amqp_channel.queue_delete("aoi.reply.shop.audit")
    finally:
        connection.close()


def test_nobody_has_a_password_that_can_be_known(stack: Stack) -> None:
    """There is no guest, and no user whose password is its name."""
    for user in ("guest", "shop", "aoi-gateway", "operator"):
        with pytest.raises(ProbableAuthenticationError):
            connected(stack, {}, user)
