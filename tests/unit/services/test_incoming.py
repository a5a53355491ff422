"""Who asks, and where answers may go, before and after quarantine."""

from __future__ import annotations

import pytest

from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound
from aoi_events.services.incoming import (
    as_sent,
    check_reply_to,
    may_answer,
    read_request,
    to_quarantine,
    unwrap,
)

GATEWAYS = frozenset({"aoi-gateway"})
STATUS = b'{"version": 1, "notification": "n1"}'


def asked(**more: object) -> Inbound:
    """A valid request of the shop."""
    plain = Inbound(
        STATUS,
        "notification.status",
        "aoi.requests",
        message_id="m1",
        correlation_id="c1",
        reply_to="amq.rabbitmq.reply-to.x",
        user_id="shop",
    )
    return Inbound(**{name: getattr(plain, name) for name in plain.__slots__} | more)


@pytest.mark.parametrize(
    "address, allowed",
    [
        ("amq.rabbitmq.reply-to.abc", True),
        ("aoi.reply.shop.1", True),
        ("aoi.reply.shop", False),
        ("aoi.reply.shopkeeper.1", False),
        ("aoi.reply..1", False),
        ("aoi.outcome", False),
        ("amq.rabbitmq.reply-to", False),
        ("aoi.reply.shop." + "x" * 255, False),
        ("", False),
    ],
)
def test_answers_go_to_own_queues_only(address: str, *, allowed: bool) -> None:
    """Section 3: only ``amq.rabbitmq.reply-to.*`` or ``aoi.reply.<user>.*``."""
    message = asked(reply_to=address)
    assert may_answer(message) == allowed
    if not allowed:
        with pytest.raises(Refusal) as refused:
            check_reply_to(message)
        assert refused.value.code is ErrorCode.REPLY_TO_REFUSED


def test_without_a_validated_user_nobody_asks() -> None:
    """Section 3: senders are known by the ``user_id`` that the broker validated, by no other."""
    with pytest.raises(Refusal) as refused:
        read_request(asked(user_id=None, headers={"user_id": "shop"}), GATEWAYS)
    assert refused.value.code is ErrorCode.SENDER_UNKNOWN


def test_quarantine_and_back() -> None:
    """Section 5: what the broker validated travels in our envelope; the message comes out as it
    was, known as a repeat.
    """
    message = asked(headers={"aoi-client": "cli_x", "other": "y", "aoi-replayed": "z"})
    moved = to_quarantine(message, "aoi.notification.quarantine")
    there = Inbound(
        moved.body,
        moved.routing_key,
        user_id="aoi-notification",
        headers=dict(moved.headers),
        message_id="m2",
    )
    back = unwrap(there, {"aoi-notification"})
    for name in ("body", "routing_key", "exchange", "user_id", "reply_to", "correlation_id"):
        assert getattr(back, name) == getattr(message, name)
    assert back.message_id == "m1"
    assert dict(back.headers) == {"aoi-client": "cli_x"}
    assert back.redelivered
    with pytest.raises(Refusal) as refused:
        unwrap(there, {"aoi-operator"})
    assert refused.value.code is ErrorCode.NOT_ALLOWED


def test_a_sender_cannot_pose_as_another_by_our_headers() -> None:
    """Section 3: our own headers count only where only we can write."""
    forged = {"aoi-replayed": "prk_x", "aoi-origin-user-id": "bank"}
    plain = as_sent(asked(reply_to=None, headers=forged))
    assert plain.user_id == "shop"
    with pytest.raises(Refusal) as refused:
        read_request(plain, GATEWAYS)
    assert refused.value.code is ErrorCode.REPLY_TO_MISSING


@pytest.mark.parametrize("user, session", [("shop", None), ("aoi-gateway", "cli_x")])
def test_a_session_is_a_gateways_word(user: str, session: str | None) -> None:
    """Section 3: whose session asks is believed of gateways only."""
    message = asked(user_id=user, headers={"aoi-client": "cli_x"})
    assert read_request(message, GATEWAYS).session == session


KEY = "B" + "A" * 86
ENDPOINTS = frozenset({"aoi-endpoint"})


@pytest.mark.parametrize("sender", ["webpush", "key:shop", f"vapid:{KEY}"])
def test_an_endpoint_speaks_for_senders(sender: str) -> None:
    """Whom an endpoint speaks for is believed of endpoints only, and survives a quarantine."""
    message = asked(user_id="aoi-endpoint", headers={"aoi-sender": sender})
    assert read_request(message, GATEWAYS, ENDPOINTS).sender == sender
    moved = to_quarantine(message, "aoi.notification.quarantine")
    there = Inbound(moved.body, moved.routing_key, user_id="aoi", headers=dict(moved.headers))
    assert read_request(unwrap(there, {"aoi"}), GATEWAYS, ENDPOINTS).sender == sender
    for other in ("shop", "aoi-gateway"):
        with pytest.raises(Refusal) as refused:
            read_request(asked(user_id=other, headers={"aoi-sender": sender}), GATEWAYS, ENDPOINTS)
        assert refused.value.code is ErrorCode.NOT_ALLOWED
    with pytest.raises(Refusal) as refused:
        read_request(asked(user_id=sender), GATEWAYS, ENDPOINTS)
    assert refused.value.code is ErrorCode.NOT_ALLOWED


@pytest.mark.parametrize("sender", ["shop", "", "key:", "key:a b", "vapid:x", "vapid:", 7, None])
def test_an_endpoint_names_senders_of_its_own_kinds(sender: object) -> None:
    """An endpoint cannot speak for a broker user; without a word it speaks for itself."""
    message = asked(user_id="aoi-endpoint", headers={"aoi-sender": sender})
    if sender is None:
        assert read_request(message, GATEWAYS, ENDPOINTS).sender == "aoi-endpoint"
        return
    with pytest.raises(Refusal) as refused:
        read_request(message, GATEWAYS, ENDPOINTS)
    assert refused.value.code is ErrorCode.INVALID


def test_an_endpoint_asks_about_notifications_only() -> None:
    """What devices ask is never asked in the name of a sender."""
    register = asked(
        body=b'{"version": 1, "device": "d", "identity": "i", "secret_hash": "' + b"0" * 64 + b'"}',
        routing_key="client.register",
        user_id="aoi-endpoint",
        headers={"aoi-sender": "webpush"},
    )
    with pytest.raises(Refusal) as refused:
        read_request(register, GATEWAYS, ENDPOINTS)
    assert refused.value.code is ErrorCode.NOT_ALLOWED
