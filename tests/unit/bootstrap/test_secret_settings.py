"""Settings may be shown: what is secret in them is not."""

from __future__ import annotations

import pytest

from aoi_events.bootstrap.settings import load_settings


@pytest.mark.parametrize(
    "name, value",
    [
        ("AOI_BROKER", "amqp://aoi:hidden@127.0.0.1/aoi"),
        ("AOI_STORE", "postgresql://aoi:hidden@127.0.0.1/aoi"),
        ("AOI_CHALLENGE_KEY", "hidden"),
        ("AOI_CLIENT__URL", "wss://aoi:hidden@push.example.org/aoi"),
        ("AOI_TOKEN_KEYS", '{"k1": "hidden"}'),
        ("AOI_CHANNELS__SMS__PASSWORD", "hidden"),
        ("AOI_CHANNELS__WEBPUSH__PRIVATE_KEY", "hidden"),
        ("AOI_CHANNELS__APPRISE__SERVICES", '{"chat": "slack://hidden/{target}"}'),
    ],
)
def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Neither ``repr`` nor ``str`` of the settings tells a password, a key or a service's URL."""
    monkeypatch.setenv(name, value)
    settings = load_settings()
    assert "hidden" not in f"{settings!r} {settings}"
