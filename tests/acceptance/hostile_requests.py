"""Whatever a sender can put on the broker, with pika and none of our code."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pika
import pika.exceptions

from aoi_events.contracts.requests import REQUESTS
from tests.support.limits import WITHIN
from tests.support.publishing_device import Device

_LARGE: Final = 10_000_000
_CODED: Final = {"malformed", "invalid", "version_unsupported"}


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and the codes of which its answer has one (of tokens that it rejects, too).

    ``reply_to`` other than the usual one: no answer can come. ``codes`` empty: any answer will do.
    """

    name: str
    routing_key: str
    body: bytes
    codes: frozenset[str]
    reply_to: str | None = "amq.rabbitmq.reply-to"


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back; ``type`` names the contract of the body."""

    case: Case
    type: str
    body: dict[str, Any]

    @property
    def codes(self) -> set[str]:
        """What was refused, and why."""
        if self.type == "refused.v1":
            return {self.body["code"]}
        return {each["code"] for each in self.body.get("rejected", ())}


def cases(victim: Device, attacker: Device, *, revoked: str, foreign: str) -> Iterator[Case]:
    """Requests that nobody may make; ``foreign`` is a delivery to the victim."""
    good = {
        "version": 1,
        "notification": "n",
        "tokens": [victim.token],
        "content": {"data": "x"},
        "ttl": 60,
    }

    def send(name: str, codes: str | set[str], **changes: object) -> Case:
        return case(name, "notification.send", {**good, **changes}, codes)

    def case(name: str, key: str, body: object, codes: str | set[str]) -> Case:
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Case(name, key, octets, frozenset({codes} if isinstance(codes, str) else codes))

    for key in REQUESTS:
        for name, octets in {
            "nothing": b"",
            "no JSON": b'{"version": 1,',
            "no UTF-8": b'{"version": 1, "notification": "\xff\xfe\xc3\x28"}',
            "deep lists": b"[" * 200_000,
            "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
            "a list": b"[]",
            "a number": b"1e999",
            "null": b"null",
        }.items():
            yield case(name, key, octets, {"malformed", "invalid"})
        yield case("no version", key, {}, "version_unsupported")
        yield case("another version", key, {"version": 2}, "version_unsupported")
        yield case("an unknown field", key, {"version": 1, "admin": True}, "invalid")
    for key in ("notification.send", "client.register", "channel.activate"):
        yield case("10 MB", key, b"x" * _LARGE, "too_large")
    wrongs: dict[str, list[object]] = {
        "tokens": ["", [], ["x"] * 1_001, {"a": 1}, None, victim.token],
        "content": ["", [], {"data": 1}, {"data": "x" * 5_000}, {"data": "\0"}, {"data": "\ud800"}],
        "ttl": [-1, 1e300, "60", True, 2**80, None],
        "notification": ["", " ", "x" * 65, "../../etc", 1, None, {"$ne": 1}],
        "urgency": ["now", 1, []],
        "mode": ["twice", 1, []],
        "hedge_after": [-1, 1e300, "2", True, 2**80, 2],
    }
    for field, wrong in wrongs.items():
        for value in wrong:
            yield send(f"{field}={str(value)[:20]}", _CODED, **{field: value})
    head, _, tail = victim.token.partition(".")
    for name, code, token in (
        ("made up", "token_forged", "k1." + "A" * 86),
        ("of another type", "token_forged", 1),
        # A key may be on its way to this worker.
        ("of another key", "unavailable", f"zz.{tail}"),
        ("cut", "token_forged", victim.token[:-4]),
        ("changed", "token_forged", f"{head}.{'B' if tail[0] == 'A' else 'A'}{tail[1:]}"),
    ):
        yield send(f"a token {name}", code, tokens=[token], notification=uuid.uuid4().hex)
    yield send("a token that ended", "token_revoked", tokens=[revoked], notification="ended")

    mine = {"version": 1, "client": victim.client}
    app = {"application": "org.example.stolen", "sequence": 1}
    for name, proof in {
        "another's secret": {"secret": attacker.secret},
        "no secret": {},
        "a made up secret": {"secret": "A" * 43},
    }.items():
        yield case(name, "application.register", {**mine, **proof, **app}, "unauthenticated")
        yield case(name, "client.deregister", {**mine, **proof}, "unauthenticated")
        offers = {"sequence": 99, "offers": [{"type": "websocket"}]}
        yield case(name, "channel.activate", {**mine, **proof, **offers}, "unauthenticated")
        fetch = {**mine, **proof, "delivery": foreign}
        yield case(name, "notification.fetch", fetch, "unauthenticated")
    own = {"version": 1, "client": attacker.client, "secret": attacker.secret}
    yield case(
        "another's delivery", "notification.fetch", {**own, "delivery": foreign}, "not_found"
    )
    session = {"node": "evil", "session": "abc", "secret": victim.secret}
    yield case("no gateway", "client.connected", {**mine, **session}, "gateway_unknown")
    yield case("no gateway", "client.disconnected", {**mine, "epoch": 1}, "gateway_unknown")
    status = {"version": 1, "notification": "of-another-sender"}
    yield case("another sender's", "notification.status", status, "not_found")
    for key in ("notification.explode", "bogus", "", "client.register.", "#", "a" * 255):
        yield case("unknown", key, good, "unknown_request")
    for address in ("aoi.notification", "aoi.reply.audit.x", "aoi.dead", "amq.gen-x"):
        body = json.dumps({**good, "notification": uuid.uuid4().hex}).encode()
        yield Case(f"reply_to {address}", "notification.send", body, frozenset(), address)
    # It would assign an ID, which no answer can name.
    new = {"version": 1, "device": "x", "identity": "x", "secret_hash": "0" * 64}
    yield Case("no reply_to", "client.register", json.dumps(new).encode(), frozenset(), None)


def noise(rng: random.Random, count: int) -> Iterator[Case]:
    """Octets by chance, and valid requests in which some octets are wrong."""
    valid = json.dumps(
        {"version": 1, "notification": "n", "tokens": ["k1.x"], "content": {"data": "x"}, "ttl": 6}
    ).encode()
    keys = sorted(REQUESTS)
    for number in range(count):
        if number % 2:
            octets = bytearray(valid)
            for _ in range(rng.randrange(1, 6)):
                octets[rng.randrange(len(octets))] = rng.randrange(256)
        else:
            octets = bytearray(rng.randbytes(rng.randrange(1, 2_000)))
        yield Case(f"noise {number}", rng.choice(keys), bytes(octets), frozenset())


def ask_all(url: str, asked: Sequence[Case], *, user: str) -> list[Answered]:
    """Publish them all, and wait for the answers of those that can have one."""
    waiting: dict[str, Case] = {}
    answers: list[Answered] = []

    def take(_: Any, deliver: Any, properties: Any, body: bytes) -> None:
        case = waiting.pop(properties.correlation_id)
        answers.append(Answered(case, properties.type, json.loads(body)))

    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        amqp_channel = connection.channel()
        amqp_channel.basic_consume("amq.rabbitmq.reply-to", take, auto_ack=True)
        for number, case in enumerate(asked):
            if case.reply_to == "amq.rabbitmq.reply-to":
                waiting[str(number)] = case
            amqp_channel.basic_publish(
                "aoi.requests",
                case.routing_key,
                case.body,
                pika.BasicProperties(
                    user_id=user,
                    message_id=uuid.uuid4().hex,
                    reply_to=case.reply_to,
                    correlation_id=str(number),
                    delivery_mode=2,
                ),
            )
        deadline = time.monotonic() + WITHIN
        while waiting:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(waiting)} had no answer, such as {next(iter(waiting.values()))}"
            connection.process_data_events(time_limit=left)
    return answers


def pretend_to_be(url: str, somebody: str) -> int:
    """Publish as somebody else; the reply code with which the broker closes the channel."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        amqp_channel = connection.channel()
        amqp_channel.confirm_delivery()
        try:
            amqp_channel.basic_publish(
                "aoi.requests", "client.connected", b"{}", pika.BasicProperties(user_id=somebody)
            )
        except pika.exceptions.ChannelClosedByBroker as closed:
            code: int = closed.reply_code
            return code
    raise AssertionError("the broker took it")
