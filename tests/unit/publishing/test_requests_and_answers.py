from __future__ import annotations

import pytest

from aoi_events.contracts.answers import (
    ANSWER_TYPES,
    NotificationAcceptedV1,
    NotificationCancelledV1,
    RefusedV1,
)
from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.errors import RequestRefused, UnexpectedAnswer
from aoi_events.ports.broker import Inbound
from aoi_events.publishing import send_request
from aoi_events.publishing.answers import read_answer

TOKEN = "token-of-an-app"
CANCELLED = NotificationCancelledV1(notification="n1", cancelled=1, settled=0)


def answered(body: bytes, type: str | None) -> Inbound:
    """An answer as it arrives."""
    return Inbound(body=body, routing_key="amq.rabbitmq.reply-to.1", type=type)


def test_text_to_one_token_makes_a_request() -> None:
    """A single token and plain text are enough; ID, time to live and urgency have defaults."""
    request = send_request(TOKEN, "Your parcel is here")
    assert request.tokens == (TOKEN,)
    assert request.content == Content(data="Your parcel is here")
    assert request.ttl == 86_400
    assert request.urgency is Urgency.NORMAL
    assert b"mode" not in request.encode(), "the operator's defaults count"
    assert request.notification != send_request(TOKEN, "Your parcel is here").notification


def test_how_channels_follow_each_other_is_the_senders_choice() -> None:
    """A mode by its name or itself, and the head start of a hedge."""
    hedged = send_request(TOKEN, "hello", mode="hedged", hedge_after=2)
    assert (hedged.mode, hedged.hedge_after) == (Mode.HEDGED, 2.0)
    assert send_request(TOKEN, "hello", mode=Mode.PARALLEL).mode is Mode.PARALLEL


def test_octets_and_their_type_make_a_request() -> None:
    """Octets travel as base64 under the content type that the sender names."""
    content = send_request([TOKEN], b"\x00\xff", content_type="application/cbor").content
    assert content.octets() == b"\x00\xff"
    assert content.type == "application/cbor"


def test_content_with_a_type_of_its_own_and_another_one_is_refused() -> None:
    """Two content types that contradict each other are an error, not a choice."""
    content = Content.of("{}", "application/json")
    assert send_request(TOKEN, content).content.type == "application/json"
    with pytest.raises(RequestRefused, match="content_type"):
        send_request(TOKEN, content, content_type="text/html")


@pytest.mark.parametrize(
    "field, arguments",
    [
        ("tokens", {"tokens": []}),
        ("tokens", {"tokens": [f"{TOKEN}-{n}" for n in range(1_001)]}),
        ("tokens.1", {"tokens": [TOKEN, "not a token!"]}),
        ("ttl", {"ttl": -1}),
        ("ttl", {"ttl": 29 * 86_400}),
        ("notification", {"notification": "no spaces allowed"}),
        (None, {"content": "x" * (MAX_CONTENT + 1)}),
        (None, {"urgency": "immediately"}),
        ("topic", {"topic": "x" * 33}),
        (None, {"mode": "twice"}),
        ("hedge_after", {"mode": "hedged", "hedge_after": 0.0}),
        (None, {"mode": "parallel", "hedge_after": 1.0}),
    ],
)
def test_what_the_server_would_refuse_never_leaves(
    field: str | None, arguments: dict[str, object]
) -> None:
    """A request out of bounds is refused here with the server's code, and says where."""
    given: dict[str, object] = {"tokens": [TOKEN], "content": "hello", **arguments}
    with pytest.raises(RequestRefused) as refused:
        send_request(**given)  # type: ignore[arg-type]  # wrong on purpose
    assert refused.value.code == "invalid"
    assert refused.value.field == field


def test_a_refusal_repeats_neither_tokens_nor_content() -> None:
    """What is wrong with a token is said without the token."""
    with pytest.raises(RequestRefused) as refused:
        send_request(["very secret!"], "hello")
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_amqp_type_names_the_answers_contract() -> None:
    """An answer is read by its ``type``, unknown fields ignored."""
    body = CANCELLED.encode().replace(b"{", b'{"later":true,', 1)
    assert read_answer(answered(body, ANSWER_TYPES[type(CANCELLED)]), type(CANCELLED)) == CANCELLED


def test_a_refusal_becomes_a_typed_error() -> None:
    """RefusedV1 is raised with its code, message and field."""
    refused = RefusedV1(code="conflict", message="another body", field="notification")
    with pytest.raises(RequestRefused) as raised:
        read_answer(answered(refused.encode(), ANSWER_TYPES[RefusedV1]), type(CANCELLED))
    assert (raised.value.code, raised.value.message, raised.value.field) == (
        "conflict",
        "another body",
        "notification",
    )


@pytest.mark.parametrize("type", [None, "", "notification.cancelled.v9"])
def test_an_answer_of_unknown_type_is_named(type: str | None) -> None:
    """An answer that no contract describes is a clear error with its type in it."""
    with pytest.raises(UnexpectedAnswer, match=repr(type).strip("'") or "''"):
        read_answer(answered(CANCELLED.encode(), type), NotificationCancelledV1)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"notification":"n1"}', b"{" * 10_000])
def test_an_answer_that_breaks_its_contract_is_an_error(body: bytes) -> None:
    """Bytes that are no answer of their type raise one typed error and show nothing of them."""
    name = ANSWER_TYPES[NotificationCancelledV1]
    with pytest.raises(UnexpectedAnswer, match=name):
        read_answer(answered(body, name), NotificationCancelledV1)


def test_an_answer_to_something_else_is_an_error() -> None:
    """A well-formed answer of another kind than what was asked for is not taken for it."""
    name = ANSWER_TYPES[NotificationCancelledV1]
    with pytest.raises(UnexpectedAnswer, match="NotificationAcceptedV1 was due"):
        read_answer(answered(CANCELLED.encode(), name), NotificationAcceptedV1)
