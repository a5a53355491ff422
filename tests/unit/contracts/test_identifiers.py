"""Identifiers that may be written in several ways."""

from __future__ import annotations

import json

import pytest

from aoi_events.channels.webpush.settings import WebPushSettings
from aoi_events.contracts.apps import RegisterAppV1
from aoi_events.contracts.requests import RegisterApplicationV1

KEY = "BA" + "-_" * 42 + "A"


@pytest.mark.parametrize("text", [KEY, KEY + "=", KEY.replace("-", "+").replace("_", "/") + "="])
def test_a_vapid_key_in_standard_base64_is_the_same_key(text: str) -> None:
    """Both alphabets (RFC 4648, sections 4 and 5), with and without padding, name one key."""
    names = {"version": 1, "application": "org.mail", "sender_key": text}
    of_client = json.dumps({**names, "client": "cli_" + "a" * 26, "sequence": 1})
    assert RegisterApplicationV1.decode(of_client).sender_key == KEY
    assert RegisterAppV1.decode(json.dumps(names)).sender_key == KEY
    assert WebPushSettings(public_key=text).public_key == KEY
