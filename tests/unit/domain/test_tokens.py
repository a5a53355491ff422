"""Application Client Tokens: the same on every repeat, never forged, never linkable."""

from __future__ import annotations

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from aoi_events.contracts.identifiers import DeliveryId, Fingerprint, TokenText, base32_id
from aoi_events.domain.clients.tokens import (
    TokenClaims,
    TokenKeys,
    app_key_of,
    delivery_id_of,
    fingerprint_of,
)
from aoi_events.errors import ConfigurationError, ErrorCode, Refusal

KEYS = TokenKeys({"k2": bytes(range(64)), "k1": bytes(range(64, 128))})
OTHERS = TokenKeys({"k2": bytes(64)})

claims = st.builds(
    TokenClaims,
    client=st.binary(min_size=16, max_size=16).map(lambda octets: base32_id("cli_", octets)),
    app_key=st.binary(min_size=16, max_size=16).map(bytes.hex),
    generation=st.integers(0, 2**32 - 1),
)


def forged(token: str, keys: TokenKeys = KEYS) -> bool:
    """Whether a token is refused: as forged, or as one of a key that is not there (yet)."""
    try:
        keys.verify(token)
    except Refusal as refused:
        unknown = token.partition(".")[0] not in keys.ids
        late = unknown and refused.code is ErrorCode.UNAVAILABLE
        return late or refused.code is ErrorCode.TOKEN_FORGED
    return False


@given(claims, st.sampled_from([None, "k1", "k2"]))
def test_a_token_stands_for_its_claims(what: TokenClaims, key: str | None) -> None:
    """Whatever was put in comes out; a repeat under the same key is the same text."""
    token = KEYS.issue(what, key)
    assert KEYS.verify(token) == what
    assert KEYS.issue(what, key) == token
    TypeAdapter(TokenText).validate_python(token)


@given(claims, st.data())
def test_a_changed_token_is_forged(what: TokenClaims, data: st.DataObject) -> None:
    """Any flipped bit, cut, longer or respelled text, or another key's ID is refused."""
    token = KEYS.issue(what)
    key_id, _, text = token.partition(".")
    place = data.draw(st.integers(0, len(token) - 1))
    flipped = chr(ord(token[place]) ^ (1 << data.draw(st.integers(0, 6))))
    assert forged(token[:place] + flipped + token[place + 1 :])
    assert forged(token[:place])
    assert forged(token + data.draw(st.sampled_from(["A", "=", "==", ".", "\n", " ", "é"])))
    assert forged(f"k1.{text}")
    assert forged(f"{key_id}.{data.draw(st.sampled_from(' -_.='))}{text}")
    assert forged(token, OTHERS), "a key of another installation"


@given(claims)
def test_one_spelling_only(what: TokenClaims) -> None:
    """Base64 has several spellings of the same octets; a token has one."""
    token = KEYS.issue(what)
    key_id, _, text = token.partition(".")
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        other = text[:-1] + last
        same = base64.urlsafe_b64decode(other + "=" * (-len(other) % 4)) == sealed
        if same and other != text:
            assert forged(f"{key_id}.{other}")


@given(st.text(max_size=120) | st.from_regex(r"k[12]\.[A-Za-z0-9_-]{0,120}", fullmatch=True))
def test_made_up_tokens_are_forged(text: str) -> None:
    """Any text at all is either refused as forged, without a look-up, or was issued."""
    assert forged(text)


@given(claims, claims)
def test_other_claims_give_another_token(one: TokenClaims, other: TokenClaims) -> None:
    """A new generation, another app or another client: another token and fingerprint."""
    assume(one != other)
    assert KEYS.issue(one) != KEYS.issue(other)
    assert fingerprint_of(KEYS.issue(one)) != fingerprint_of(KEYS.issue(other))


def test_tokens_of_one_device_have_nothing_in_common() -> None:
    """Two app servers that compare what they hold cannot see that it is one device."""
    client = base32_id("cli_", bytes(16))
    tokens = [
        KEYS.issue(TokenClaims(client, app_key_of(f"app{n}", "default"), 1)) for n in range(200)
    ]
    beyond_chance = len("k2.") + 6
    assert len({token[:beyond_chance] for token in tokens}) == 200
    assert len({token[-6:] for token in tokens}) == 200
    assert not any(client in token for token in tokens)


def test_a_key_that_is_on_its_way_makes_no_forgeries() -> None:
    """While a new key is rolled out, some workers have it and some do not: its tokens are put off
    by those, not called forged, so that no sender throws them away. What no key can have made is.
    """
    what = TokenClaims(base32_id("cli_", bytes(16)), app_key_of("app", "default"), 1)
    token = KEYS.issue(what)
    before = TokenKeys({"k1": bytes(range(64, 128))})
    with pytest.raises(Refusal, match="k2") as refused:
        before.verify(token)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    assert token.partition(".")[2] not in str(refused.value)
    for other in (token[:-1], token + "A", "k 2" + token[2:], "k" * 17 + token[2:]):
        with pytest.raises(Refusal) as refused:
            before.verify(other)
        assert refused.value.code is ErrorCode.TOKEN_FORGED


def test_a_retired_key_still_verifies_and_a_missing_one_says_so() -> None:
    """Tokens of an older key stay valid; issuing again under a key that is gone is explained."""
    what = TokenClaims(base32_id("cli_", bytes(16)), app_key_of("app", "default"), 1)
    old = TokenKeys({"k1": bytes(range(64, 128))}).issue(what)
    assert KEYS.verify(old) == what
    assert KEYS.issue(what, "k1") == old
    with pytest.raises(ConfigurationError, match="k0"):
        KEYS.issue(what, "k0")


@pytest.mark.parametrize(
    "keys", [{}, {"k1": bytes(32)}, {"k.1": bytes(64)}, {"": bytes(64)}, {"k" * 17: bytes(64)}]
)
def test_keys_that_cannot_work_are_refused(keys: dict[str, bytes]) -> None:
    """No key, a short one, or an ID that would not fit a token is refused."""
    with pytest.raises(ConfigurationError):
        TokenKeys(keys)


def test_a_refusal_does_not_repeat_the_token() -> None:
    """A token is a capability: it is in no message, not even a forged one."""
    with pytest.raises(Refusal) as refused:
        KEYS.verify("k2.c2VjcmV0")
    assert "c2VjcmV0" not in str(refused.value)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_derived_ids_are_well_formed(sender: str, notification: str, token: str) -> None:
    """Fingerprints and delivery IDs are the same on every repeat and fit their contracts."""
    TypeAdapter(Fingerprint).validate_python(fingerprint_of(token))
    delivery = delivery_id_of(sender, notification, token)
    TypeAdapter(DeliveryId).validate_python(delivery)
    assert delivery == delivery_id_of(sender, notification, token)


def test_delivery_ids_are_scoped_by_sender() -> None:
    """The same notification ID of two senders, or for two tokens, is two deliveries."""
    ids = {delivery_id_of(s, n, t) for s in ("a", "b") for n in ("1", "2") for t in ("x", "y")}
    assert len(ids) == 8
