"""Secrets of webhooks, and signatures after Standard Webhooks. Pure.

Each channel has a secret of its own, as receivers of Standard Webhooks expect. It is derived from
the installation's signing key, the AOI Client ID and the URL, so no secret is stored or sent
between workers. A client that offers the URL of another client gets a different secret, which that
receiver does not trust.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime


def secret_of(key: bytes, client: str, url: str) -> str:
    """The secret of one client's webhook: ``whsec_`` and base64 of 32 octets."""
    digest = hmac.digest(key, f"aoi webhook v1\0{client}\0{url}".encode(), hashlib.sha256)
    return "whsec_" + base64.b64encode(digest).decode()


def signed(secret: str, name: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """The headers that identify and sign ``body``; a repeat has the same ``name``."""
    from standardwebhooks import Webhook

    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, now, body.decode()),
    }
