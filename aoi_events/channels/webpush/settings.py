"""Settings of the Web Push channel."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.channels.webpush.vapid import VapidKey, public_text, read_key
from aoi_events.contracts.identifiers import SenderKeyInput
from aoi_events.platform.settings import form

_Contact = form(r"(mailto:|https://)[\x21-\x7e]+", "mailto:ADDRESS or an https:// URL")


class WebPushSettings(OutgoingSettings):
    """Where Web Pushes may go, and the key that identifies us as their sender (VAPID, RFC 8292).

    The worker ``webpush`` needs ``private_key``; the worker ``activation`` needs ``public_key``,
    which it sends to devices. The other workers need no key.
    """

    prefix: ClassVar = "AOI_CHANNELS__WEBPUSH"

    private_key: SecretStr | None = None
    """VAPID private key of this installation, base64url of 32 octets; `aoi keys vapid` makes one.
    For the worker webpush only, where `public_key` is set for the worker activation."""
    public_key: SenderKeyInput | None = None
    """Its public key, the `applicationServerKey` that devices subscribe with; derived from
    `private_key` where that is set."""
    contact: Annotated[str, Field(max_length=200), _Contact] | None = None
    """The contact of the operator, for push services: `mailto:ops@example.org`, or an https URL.
    Some push services refuse pushes without it."""

    @field_validator("public_key", mode="wrap")
    @classmethod
    def _a_key(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError("must be a VAPID public key, as `aoi keys vapid` prints it") from None

    @field_validator("private_key")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_key(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _belong(self) -> WebPushSettings:
        key = self.signing
        if key is not None and self.public_key not in (None, public_text(key)):
            raise ValueError("public_key does not belong to private_key")
        return self

    @property
    def signing(self) -> VapidKey | None:
        """The private key itself."""
        if self.private_key is None:
            return None
        return read_key(self.private_key.get_secret_value())

    @property
    def application_server_key(self) -> str | None:
        """The public key."""
        key = self.signing
        return self.public_key if key is None else public_text(key)
