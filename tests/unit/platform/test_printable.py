"""URLs are shown without what may be secret in them."""

from __future__ import annotations

import pytest

from aoi_events.platform.printable import without_secrets


@pytest.mark.parametrize(
    "url, shown",
    [
        ("wss://push.example.org:8090/aoi", "wss://push.example.org:8090/aoi"),
        ("wss://aoi:hidden@push.example.org/aoi?key=hidden#hidden", "wss://push.example.org/aoi"),
        ("wss://aoi:hid/hid@h/aoi", "wss://h/aoi"),
        ("aoi:hidden@h", "h"),
        ("ws://[::1", "ws://[::1"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    """Scheme, host, port and path are shown; user, password, query and fragment are not."""
    assert without_secrets(url) == shown
