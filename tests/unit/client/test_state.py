"""The stored state: its format on disk, and what its repr must not show."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aoi_events.client.core.state import (
    ApplicationRecord,
    Credentials,
    Origin,
    StoredState,
    bounded,
    decode,
    encode,
)
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.device import AckFrame
from aoi_events.contracts.identifiers import base32_id
from aoi_events.contracts.requests import PreviousClient
from aoi_events.errors import ClientStateError
from aoi_events.oma_push.reassembly import WaitingPart
from tests.support.strategies import instants

NAMES = st.text("abc", min_size=1, max_size=5)
CODES = st.sampled_from(["delivered", "no_such_application", "could_not_wake"])
CHANNELS = st.builds(
    SelectedChannel,
    type=st.sampled_from(["websocket", "sms"]),
    state=st.sampled_from(["active", "pending"]),
)
DELIVERIES = st.binary(min_size=16, max_size=16).map(lambda octets: base32_id("dlv_", octets))
PREVIOUS = PreviousClient(client=base32_id("cli_", bytes(16)), secret="s3cret" * 7 + "s")
PARTS = st.builds(
    WaitingPart,
    st.text(max_size=32),
    st.sampled_from([8, 16]),
    st.integers(0, 65_535),
    st.integers(2, 16),
    st.integers(1, 16),
    st.binary(max_size=134),
    instants(),
)
STORED = st.builds(
    StoredState,
    credentials=st.none() | st.builds(Credentials, NAMES, st.text(), st.none() | NAMES),
    previous=st.sampled_from([None, PREVIOUS]),
    sequence=st.integers(0, 2**53),
    applications=st.dictionaries(
        NAMES,
        st.builds(
            ApplicationRecord,
            NAMES,
            NAMES,
            st.booleans(),
            st.booleans(),
            st.integers(0, 2**53),
            st.none() | NAMES,
            st.none() | NAMES,
        ),
    ),
    channels=st.lists(CHANNELS, max_size=2).map(tuple),
    activated=st.none() | NAMES,
    activating=st.booleans(),
    codes=st.dictionaries(NAMES, NAMES),
    wake_ups=st.dictionaries(NAMES, st.builds(Origin, NAMES, st.none() | st.integers())),
    seen=st.dictionaries(NAMES, CODES),
    acks=st.dictionaries(
        DELIVERIES,
        st.builds(
            AckFrame,
            delivery=DELIVERIES,
            code=CODES,
            attempt=st.none() | st.integers(1, 2**53),
            channel=NAMES,
        ),
    ),
    parts=st.lists(PARTS, max_size=3).map(tuple),
    heard=st.text(max_size=16),
)


@given(STORED)
def test_what_was_stored_comes_back(stored: StoredState) -> None:
    """Every state survives the way to the disk and back."""
    assert decode(encode(stored)) == stored


@given(st.binary() | st.text().map(str.encode))
@example(b"{}")
def test_damaged_state_is_said_and_not_shown(data: bytes) -> None:
    """Other bytes give an error that says what to do, and shows nothing of them."""
    with pytest.raises(ClientStateError, match="move it away"):
        decode(data)


def test_damaged_state_does_not_leak_the_secret() -> None:
    """The error about a damaged file shows nothing of the secrets in it."""
    data = encode(StoredState(credentials=Credentials("s3cret", "tel:+1"))).replace(b"{", b"{x", 1)
    with pytest.raises(ClientStateError) as caught:
        decode(data)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_repr_hides_secrets() -> None:
    """Neither secrets nor tokens nor codes show where a state is printed."""
    record = ApplicationRecord("app", "default", True, False, 1, "t0ken")
    stored = StoredState(
        credentials=Credentials("s3cret", "tel:+1"),
        previous=PREVIOUS,
        applications={record.key: record},
        codes={"sms": "c0de"},
    )
    for hidden in ("s3cret", "t0ken", "c0de"):
        assert hidden not in repr(stored)


@given(st.lists(st.integers(0, 20)), st.integers(1, 5))
def test_bounded_keeps_the_newest(keys: list[int], limit: int) -> None:
    """A bounded map holds the newest entries, and no more than its limit."""
    entries: dict[str, int] = {}
    for key in keys:
        entries = bounded(entries, str(key), key, limit)
    newest = list(dict.fromkeys(reversed(keys)))[:limit]
    assert list(entries.values()) == newest[::-1]
