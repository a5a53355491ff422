from __future__ import annotations

import pytest

from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.errors import RequestRefused
from aoi_events.publishing import send_request

TOKEN = "token-of-an-app"


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
        ("tokens.1", {"tokens": [TOKEN, 7]}),
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
        send_request(["very secret!"] * 1_001, "hello")
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
