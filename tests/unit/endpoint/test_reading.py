"""Whatever stands in header fields: it is read, or refused with a status, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aoi_events.contracts.content import ContentEncryption
from aoi_events.contracts.identifiers import Urgency
from aoi_events.contracts.requests import MAX_TTL
from aoi_events.endpoint.headers import PushHeaders, read_encryption, read_headers
from aoi_events.endpoint.refusals import HttpRefusal, of_code
from aoi_events.endpoint.vapid import proved_key
from aoi_events.errors import ErrorCode

T = TypeVar("T")

LINES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)
PARTS = st.sampled_from(["salt", "dh", "p256ecdsa", "keyid", "=", ";", ",", '"', "AAAA", " ", "=="])
FIELDS = st.dictionaries(
    st.sampled_from(
        ["TTL", "Urgency", "Topic", "Content-Encoding", "Encryption", "Crypto-Key"],
    ),
    st.lists(
        LINES
        | st.lists(PARTS, max_size=12).map("".join)
        | st.sampled_from(["0", "60", "high", "aesgcm", "aes128gcm", "salt=AAAA", "dh=AAAA"]),
        min_size=1,
        max_size=2,
    ),
)


def outcome(read: Callable[[], T]) -> T | HttpRefusal:
    """The result of reading, or the refusal."""
    try:
        return read()
    except HttpRefusal as refused:
        return refused


@given(FIELDS)
@example({"TTL": ["1"], "Content-Encoding": ["aesgcm"], "Encryption": ["salt=A"], "Crypto-Key": []})
def test_any_header_fields(fields: dict[str, list[str]]) -> None:
    """Valid fields fit the contracts, and others are refused with 400 and the field's name."""

    def values(name: str) -> list[str]:
        return fields.get(name, [])

    headers = outcome(lambda: read_headers(values))
    if isinstance(headers, HttpRefusal):
        assert headers.status == HTTPStatus.BAD_REQUEST
        assert headers.field
    else:
        assert 0 <= headers.ttl <= MAX_TTL
    encryption = outcome(lambda: read_encryption(values))
    if isinstance(encryption, HttpRefusal):
        assert encryption.status == HTTPStatus.BAD_REQUEST
    else:
        assert "p256ecdsa" not in (encryption.crypto_key or "").lower()
        assert ContentEncryption.decode(encryption.encode()) == encryption


@given(
    st.lists(
        LINES
        | LINES.map(lambda text: f"vapid t={text}, k=B{'A' * 86}")
        | LINES.map(lambda text: f"vapid t=a.b.c, k={text}")
        | LINES.map(lambda text: f"WebPush {text}"),
        max_size=2,
    ),
    st.lists(LINES | st.just("p256ecdsa=BA"), max_size=2),
)
def test_any_credentials(authorization: list[str], crypto_key: list[str]) -> None:
    """Arbitrary credentials prove nothing, and fail only with a refusal (403)."""
    found = outcome(
        lambda: proved_key(authorization, crypto_key, origin="http://localhost", now=0.0)
    )
    if authorization:
        assert isinstance(found, HttpRefusal)
        assert found.status == HTTPStatus.FORBIDDEN
    else:
        assert found is None


def test_what_a_push_says_by_default() -> None:
    """RFC 8030, 5.3: normal urgency; without a topic."""
    fields = {"TTL": [" 60 "]}
    found = read_headers(lambda name: fields.get(name, []))
    assert found == PushHeaders(60, Urgency.NORMAL, None)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_a_status(code: ErrorCode) -> None:
    """A code that is not for senders becomes an internal error without details."""
    refusal = of_code(code, "5ec7e7")
    assert 400 <= refusal.status < 600
    if refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        assert (refusal.code, refusal.errno) == (ErrorCode.INTERNAL, 999)
        assert "5ec7e7" not in refusal.message
    assert (refusal.retry_after is not None) == (refusal.status in (429, 503))
