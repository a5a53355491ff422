"""Who asks, and where answers may go, before and after quarantine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aoi_events.broker.rabbitmq.messages import encode
from aoi_events.contracts.senders import vapid_sender
from aoi_events.domain.parked import ParkedMessage
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound
from aoi_events.services.messages.quarantine import as_sent, to_quarantine, to_replay, unwrap
from aoi_events.services.messages.requests import check_reply_to, may_answer, read_request
from aoi_events.topology import QUARANTINES, quarantine_of

GATEWAYS = frozenset({"aoi-gateway"})
ENDPOINTS = frozenset({"aoi-endpoint"})
KEY = "B" + "A" * 86
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
    """Only ``amq.rabbitmq.reply-to.*`` or ``aoi.reply.<user>.*``."""
    message = asked(reply_to=address)
    assert may_answer(message) == allowed
    if not allowed:
        with pytest.raises(Refusal) as refused:
            check_reply_to(message)
        assert refused.value.code is ErrorCode.REPLY_TO_REFUSED


def test_without_a_validated_user_nobody_asks() -> None:
    """Senders are known by the ``user_id`` that the broker validated, by no other."""
    with pytest.raises(Refusal) as refused:
        read_request(asked(user_id=None, headers={"user_id": "shop"}), GATEWAYS)
    assert refused.value.code is ErrorCode.SENDER_UNKNOWN


def test_quarantine_and_back() -> None:
    """What the broker validated travels in our envelope; the message comes out as it was, known as
    a repeat.
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


@pytest.mark.parametrize("name", ["aoi-client", "aoi-sender"])
def test_a_header_of_any_length_can_be_moved(name: str) -> None:
    """A sender's message with headers of 32 KiB goes to quarantine, and names nobody there."""
    moved = to_quarantine(asked(headers={name: "x" * 32_700}), "aoi.notification.quarantine")
    assert encode(moved, user="aoi", message_id="m2", number=1, limit=4096)
    there = Inbound(moved.body, moved.routing_key, user_id="aoi", headers=dict(moved.headers))
    assert len(str(unwrap(there, {"aoi"}).headers[name])) > len(vapid_sender(KEY))


@pytest.mark.parametrize(
    "user, headers, sender, session",
    [
        ("shop", {}, "shop", None),
        ("shop", {"aoi-client": "cli_x"}, "shop", None),
        ("aoi-gateway", {"aoi-client": "cli_x"}, "aoi-gateway", "cli_x"),
        ("aoi-endpoint", {"aoi-sender": "key:shop"}, "key:shop", None),
        ("aoi-endpoint", {}, "aoi-endpoint", None),
    ],
)
def test_a_replay_asks_as_its_sender_did(
    user: str, headers: dict[str, str], sender: str, session: str | None
) -> None:
    """A replay is the request that was parked, of the sender that the broker validated then, with
    no more authority; it has an ID of its own, the same each time, and needs no answer.
    """
    parked = parked_by(user, headers)
    back = replayed(parked, "first")
    found = read_request(back, GATEWAYS, ENDPOINTS)
    assert (found.sender, found.session, found.reply_to) == (sender, session, None)
    assert getattr(found.request, "notification", None) == "n1"
    for name in ("body", "routing_key", "exchange"):
        assert getattr(back, name) == getattr(parked, name)
    assert (back.correlation_id, back.redelivered) == (None, True)
    assert back.message_id == replayed(parked, "second").message_id
    assert back.message_id not in ("m1", "first", "second")


def test_a_replay_of_nobody_is_not_the_operators() -> None:
    """What was parked because the broker had validated no sender has none afterwards."""
    with pytest.raises(Refusal) as refused:
        read_request(replayed(parked_by("", {}), "first"), GATEWAYS)
    assert refused.value.code is ErrorCode.SENDER_UNKNOWN


def parked_by(user: str, headers: dict[str, str]) -> ParkedMessage:
    """A valid request that was set aside."""
    return ParkedMessage(
        id="prk_1",
        parked_at=datetime.now(UTC),
        queue="aoi.notification",
        routing_key="notification.status",
        exchange="aoi.requests",
        sender=user,
        code="internal",
        reason="a bug",
        body=STATUS,
        replayable=True,
        headers=headers,
    )


def replayed(parked: ParkedMessage, message_id: str) -> Inbound:
    """What a worker makes of a replay, whose publish had this message ID."""
    sent = to_replay(parked)
    assert (sent.exchange, sent.routing_key) == (QUARANTINES, quarantine_of(parked.queue))
    there = Inbound(
        sent.body,
        sent.routing_key,
        sent.exchange,
        message_id=message_id,
        user_id="operator",
        headers=dict(sent.headers),
    )
    return unwrap(there, {"operator"})


def test_a_sender_cannot_pose_as_another_by_our_headers() -> None:
    """Our own headers count only where only we can write."""
    forged = {"aoi-replayed": "prk_x", "aoi-origin-user-id": "bank"}
    plain = as_sent(asked(reply_to=None, headers=forged))
    assert plain.user_id == "shop"
    with pytest.raises(Refusal) as refused:
        read_request(plain, GATEWAYS)
    assert refused.value.code is ErrorCode.REPLY_TO_MISSING


SECRET = b'"client": "cli_%s", "secret": "%s"' % (b"a" * 26, b"A" * 43)
TOKENS = b'"notification": "n1", "tokens": ["k1.x"], "content": {"data": "x"}'


@pytest.mark.parametrize(
    "key, body, needed",
    [
        ("notification.send", TOKENS, False),
        ("notification.cancel", b'"notification": "n1"', False),
        ("notification.status", b'"notification": "n1"', True),
        ("client.deregister", SECRET, False),
        ("application.register", SECRET + b', "application": "a", "sequence": 1', True),
        ("application.deregister", SECRET + b', "application": "a", "sequence": 1', False),
        ("channel.activate", SECRET + b', "offers": [], "sequence": 1', True),
        ("channel.deactivate", SECRET + b', "sequence": 1', False),
    ],
)
def test_answers_that_assign_nothing_need_no_address(
    key: str, body: bytes, *, needed: bool
) -> None:
    """A request is refused without ``reply_to`` only if its answer assigns or reports something."""
    message = asked(routing_key=key, body=b'{"version": 1, %s}' % body, reply_to=None)
    if not needed:
        assert read_request(message, GATEWAYS).reply_to is None
        return
    with pytest.raises(Refusal) as refused:
        read_request(message, GATEWAYS)
    assert refused.value.code is ErrorCode.REPLY_TO_MISSING


@pytest.mark.parametrize("user, session", [("shop", None), ("aoi-gateway", "cli_x")])
def test_a_session_is_a_gateways_word(user: str, session: str | None) -> None:
    """Whose session asks is believed of gateways only."""
    message = asked(user_id=user, headers={"aoi-client": "cli_x"})
    assert read_request(message, GATEWAYS).session == session


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
