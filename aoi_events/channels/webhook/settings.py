"""Settings of the webhook channel."""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar, Final

from pydantic import Field, SecretStr, field_validator

from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.platform.settings import LEAST

SIGNING_OCTETS: Final = 32
"""Least octets of the signing key."""


class WebhookSettings(OutgoingSettings):
    """Where webhooks may go, and the key from which their secrets are derived.

    The workers ``activation`` and ``webhook`` need ``signing_key``; the other workers do not.
    """

    prefix: ClassVar = "AOI_CHANNELS__WEBHOOK"

    within: Annotated[float, Field(ge=LEAST, le=60)] = 20.0
    """Seconds that a request may take in all: name look-up, TLS, and the head of the answer;
    Standard Webhooks recommends 15 to 30. As long it may wait for its turn before."""
    signing_key: SecretStr | None = None
    """Base64 of at least 32 octets, from which every webhook's own secret follows; `aoi keys
    webhook` makes one. For the workers activation and webhook only. With another one every device
    has to activate its webhook again."""

    @field_validator("signing_key")
    @classmethod
    def _strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(_octets(value)) < SIGNING_OCTETS:
            raise ValueError(f"base64 of at least {SIGNING_OCTETS} octets; `aoi keys webhook`")
        return value

    @property
    def signing_octets(self) -> bytes | None:
        """The signing key itself."""
        return None if self.signing_key is None else _octets(self.signing_key)


def _octets(text: SecretStr) -> bytes:
    try:
        return base64.b64decode(text.get_secret_value(), validate=True)
    except ValueError:  # also of other characters than ASCII
        return b""
