"""Settings of an endpoint: origins, API keys, and what goes together."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from aoi_events.endpoint.api_keys import bearer_of, hash_key, name_of, new_key
from aoi_events.endpoint.settings import EndpointSettings, origin_of
from tests.support.strategies import near_misses


@pytest.mark.parametrize(
    "url, origin",
    [
        ("https://push.example.org", "https://push.example.org"),
        ("https://PUSH.example.org:443/", "https://push.example.org"),
        ("http://localhost:8092", "http://localhost:8092"),
        ("http://localhost:80", "http://localhost"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str) -> None:
    """RFC 6454, 6.1: VAPID tokens name it exactly so."""
    assert origin_of(url) == origin
    assert EndpointSettings(public_url=url).public_url == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "push.example.org",
        "ftp://x",
        "https://",
        "https://x/path",
        "https://x?y",
        "https://u@x",
        "https://x:99999",
        "https://x#f",
    ],
)
def test_what_is_no_origin_is_refused(url: str) -> None:
    """A public URL with a path is refused, because the endpoint's URLs would not have it."""
    with pytest.raises(ValidationError):
        EndpointSettings(public_url=url)


@pytest.mark.parametrize(
    "wrong",
    [
        {"private_key": "key.pem"},
        {"api_keys": {"shop": "secret"}},
        {"api_keys": {"a b": "0" * 64}},
        {"head_octets": 1},
        {"proxies": ["nginx"]},
        {"proxies": ["10.0.0.1/8"]},
    ],
)
def test_settings_that_cannot_work(wrong: dict[str, object]) -> None:
    """An API key itself instead of its hash is refused, and not repeated in the error."""
    with pytest.raises(ValidationError) as refused:
        EndpointSettings.model_validate(wrong)
    assert "secret" not in str(refused.value)


def test_an_api_key_is_known_by_its_hash() -> None:
    """The key that was made is found under its name, by nothing else, among others."""
    key = new_key("ab" * 32)
    hashes = {"bank": hash_key("aoi_other"), "shop": hash_key(key), "news": hash_key("")}
    assert name_of(key, hashes) == "shop"
    assert name_of(key + "x", hashes) is None
    assert name_of(hash_key(key), hashes) is None
    assert name_of(key, {}) is None
    assert bearer_of(f"bearer  {key}") == key
    for said in ("", "Bearer", key, f"Bearer {key} x", "Bearer " + "x" * 300, f"Basic {key}"):
        assert bearer_of(said) is None


def test_api_keys_are_compared_whole() -> None:
    """A key that differs from a known one in a single character, in its length or in its case is
    no key; nor is one whose hash differs from the stored one in a single place.
    """
    key = new_key("ab" * 32)
    for wrong in near_misses(key):
        assert name_of(wrong, {"shop": hash_key(key)}) is None
    for other in near_misses(hash_key(key)):
        assert name_of(key, {"shop": other}) is None


def test_each_api_key_has_its_own_name() -> None:
    """Wherever a key stands among the known ones, it is found under its own name."""
    keys = {name: new_key(digit * 64) for name, digit in zip("abc", "123", strict=True)}
    hashes = {name: hash_key(key) for name, key in keys.items()}
    assert {name: name_of(key, hashes) for name, key in keys.items()} == {n: n for n in keys}
