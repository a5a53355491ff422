"""The keys by which rows name addresses."""

from __future__ import annotations

import pytest

from aoi_events.domain.clients.channels import address_key


@pytest.mark.parametrize("address", ["", "+15550100", "https://push.example.org/a", "a" * 512])
def test_a_short_address_is_its_own_key(address: str) -> None:
    """Addresses of usual length are stored as they are."""
    assert address_key(address) == address


def test_a_long_address_has_a_short_key() -> None:
    """The key of a long address fits an index, and two addresses that differ only at their ends
    have two.
    """
    long = ["a" * 4_095 + end for end in "xy"] + ["\u00e4" * 257]
    keys = {address_key(address) for address in long}
    assert len(keys) == len(long)
    assert all(len(key.encode()) <= 512 for key in keys)


def test_no_address_looks_like_the_key_of_another() -> None:
    """A client that offers the key of a long address as its address gets another key."""
    key = address_key("a" * 4_096)
    assert address_key(key) != key
