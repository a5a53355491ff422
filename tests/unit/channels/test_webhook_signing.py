"""Secrets and signatures of webhooks."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from aoi_events.channels.webhook.plugin import WebhookPlugin
from aoi_events.channels.webhook.settings import WebhookSettings
from aoi_events.channels.webhook.signing import secret_of, signed

KEY = bytes(32)
URL = "https://push.example.org/hook"


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks' libraries, which receivers test with, too."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    at = datetime.fromtimestamp(1_614_265_330, UTC)
    headers = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.text(max_size=200), st.binary(min_size=1, max_size=10))
def test_any_body_can_be_verified(text: str, name: bytes) -> None:
    """What we sign, the library of a receiver verifies, with the time of now."""
    secret = secret_of(KEY, "cli_a", URL)
    body = text.encode("utf-8", "replace")
    headers = signed(secret, name.hex(), body, datetime.now(UTC))
    Webhook(secret).verify(body, dict(headers), json_parse=False)


def test_secrets_differ_by_client_url_and_key() -> None:
    """Each follows from all three, so that none of them can be made from another."""
    plugin = WebhookPlugin()
    told = plugin.confirming(WebhookSettings.model_validate({"signing_key": "A" * 43 + "="}))
    secrets = {
        secret_of(KEY, "cli_a", URL),
        secret_of(KEY, "cli_b", URL),
        secret_of(KEY, "cli_a", URL + "2"),
        secret_of(bytes(31) + b"1", "cli_a", URL),
    }
    assert len(secrets) == 4
    assert told("cli_a", {"url": URL}) == {"secret": secret_of(KEY, "cli_a", URL)}
    assert all(secret.startswith("whsec_") and len(secret) == 50 for secret in secrets)
