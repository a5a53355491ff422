"""Who may send to a token that is bound to a key, and which texts are keys at all."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aoi_events.contracts.senders import ANONYMOUS, api_key_sender, vapid_sender
from aoi_events.domain.clients.sender_keys import may_send, public_key
from aoi_events.errors import ErrorCode, Refusal
from tests.support.strategies import near_misses


@pytest.fixture(scope="module")
def key() -> str:
    """The text of a key."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    octets = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def test_a_bound_token_is_its_senders_only(key: str) -> None:
    """Keys are compared whole, and only a sender that proved the key has it in its name."""
    assert may_send(vapid_sender(key), key)
    others = [ANONYMOUS, key, "shop", "", api_key_sender(key), vapid_sender("")]
    for sender in [*others, *(vapid_sender(other) for other in near_misses(key))]:
        assert not may_send(sender, key)
        assert may_send(sender, None), "a token that is bound to none is everybody's"


def test_a_key_is_a_point_of_the_curve(key: str) -> None:
    """A text that names no point of P-256 is refused before anything is bound to it."""
    assert public_key(key).curve.name == "secp256r1"
    octets = bytearray(base64.urlsafe_b64decode(key + "="))
    octets[-1] ^= 1
    beside = base64.urlsafe_b64encode(bytes(octets)).decode().rstrip("=")
    for wrong in (beside, key[:-1], ""):
        with pytest.raises(Refusal) as refused:
            public_key(wrong)
        assert (refused.value.code, refused.value.field) == (ErrorCode.INVALID, "sender_key")
