"""Encryption for a device and VAPID, against what others wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from aoi_events.channels.webpush.plugin import WebPushPlugin
from aoi_events.channels.webpush.size import LARGEST_PLAINTEXT
from aoi_events.channels.webpush.subscription import Keys, encrypted, keys_of
from aoi_events.channels.webpush.vapid import (
    authorization,
    decoded,
    encoded,
    new_key,
    public_text,
    read_key,
)
from tests.support.receivers import Subscription

RFC_8291 = {
    "p256dh": (
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    ),
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}
"""The receiver of RFC 8291, section 5."""
RFC_8291_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"


def test_the_receiver_of_the_standard_reads_it() -> None:
    """Encrypted for the keys of RFC 8291, section 5, and read with its private key."""
    keys = keys_of(RFC_8291)
    assert isinstance(keys, Keys)
    assert keys.parameters() == RFC_8291
    body = encrypted(b"When I grow up, I want to be a watermelon", keys)
    private = read_key(RFC_8291_PRIVATE)
    assert public_text(private) == RFC_8291["p256dh"]
    read = http_ece.decrypt(body, private_key=private, auth_secret=keys.auth, version="aes128gcm")
    assert read == b"When I grow up, I want to be a watermelon"


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=LARGEST_PLAINTEXT))
def test_any_push_is_read_by_its_device_only(plaintext: bytes) -> None:
    """103 octets more, one record, another salt and key each time."""
    device, other = Subscription(), Subscription()
    keys = keys_of(device.parameters("https://push.example.org/"))
    assert isinstance(keys, Keys)
    body = encrypted(plaintext, keys)
    assert len(body) == len(plaintext) + 103 <= 4_096
    assert device.read(body) == plaintext
    with pytest.raises(http_ece.ECEException):
        other.read(body)
    assert encrypted(plaintext, keys)[:16] != body[:16]


@given(
    st.dictionaries(
        st.sampled_from(["p256dh", "auth"]),
        st.text(max_size=100) | st.integers() | st.booleans() | st.binary(max_size=70).map(encoded),
    )
)
def test_any_keys_are_taken_or_named(parameters: dict[str, str | int | bool]) -> None:
    """Whatever a device offers as keys: those, or which one is bad; never a fault."""
    keys = keys_of(parameters)
    if isinstance(keys, Keys):
        assert (len(keys.p256dh), len(keys.auth)) == (65, 16)
    else:
        assert keys in ("p256dh", "auth")


@pytest.mark.parametrize("form", ["BA" + "A" * 85, "AA" + "A" * 85, "A" + RFC_8291["p256dh"][1:43]])
def test_points_that_are_none_are_refused(form: str) -> None:
    """Off the curve, the point at infinity, a compressed one: nothing is multiplied with it."""
    assert keys_of({**RFC_8291, "p256dh": form}) == "p256dh"


def test_vapid_says_who_and_for_whom() -> None:
    """The audience is the endpoint's origin, with its port; the token is valid for half a day."""
    private, public = new_key()
    key = read_key(private)
    now = datetime.now(UTC)
    text = authorization(key, "https://push.example.org:8443/p/1?x", "mailto:a@b", now)
    token, _, named = text.removeprefix("vapid t=").partition(", k=")
    assert named == public == public_text(key)
    assert jwt.get_unverified_header(token)["alg"] == "ES256"
    claims = jwt.decode(
        token, key.public_key(), algorithms=["ES256"], audience="https://push.example.org:8443"
    )
    assert claims["sub"] == "mailto:a@b"
    assert claims["exp"] == int(now.timestamp()) + 12 * 3_600
    assert isinstance(key, ec.EllipticCurvePrivateKey)


def test_base64url_has_one_spelling() -> None:
    """Padding is optional; other alphabets, and unused bits that are set, are refused."""
    assert decoded("AQ") == decoded("AQ==") == b"\x01"
    assert [decoded(bad) for bad in ("AR", "A", "+/+/", "A Q", "é", "AQ=A")] == [None] * 6


def test_devices_are_told_the_public_key() -> None:
    """A device sees in every answer whether its subscription was made for this key."""
    private, public = new_key()
    plugin = WebPushPlugin()
    for known in ({"private_key": private}, {"public_key": public}):
        told = plugin.confirming(plugin.settings_model.model_validate(known))
        assert json.loads(json.dumps(told("cli_a", {}))) == {"vapid_key": public}
