"""The content of a notification: opaque to the AOI Server, bounded."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from aoi_events.contracts.base import Contract

MAX_CONTENT: Final = 4096
"""Largest content in octets (what RFC 8030, section 7.2 asks every push service to take)."""


_Header = Annotated[str, Field(max_length=512, pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$")]


class ContentEncryption(Contract):
    """How a sender encrypted the content for the app instance; the AOI Server cannot read it.

    ``aes128gcm`` (RFC 8188, RFC 8291) has all parameters within the content; ``aesgcm``
    (draft-ietf-webpush-encryption-04) needs the values of two headers beside it.
    """

    coding: Literal["aes128gcm", "aesgcm"]
    encryption: _Header | None = None
    crypto_key: _Header | None = None

    @model_validator(mode="after")
    def _complete(self) -> ContentEncryption:
        present = {self.encryption is not None, self.crypto_key is not None}
        if present != {self.coding == "aesgcm"}:
            raise ValueError("aesgcm has both encryption and crypto_key, aes128gcm has neither")
        return self


class Content(Contract):
    """The content: ``data`` is text, or base64 (RFC 4648, section 4) of octets, as ``encoding``
    names it.
    """

    data: Annotated[str, Field(max_length=4 * MAX_CONTENT // 3 + 4)]
    encoding: Literal["utf-8", "base64"] = "utf-8"
    type: Annotated[str, Field(max_length=100, pattern=r"^[\x21-\x7e][\x20-\x7e]*$")] = "text/plain"
    encryption: ContentEncryption | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Content:
        if self.encoding == "utf-8" and "\0" in self.data:
            raise ValueError("text has no NUL; send octets as base64")
        if len(self.octets()) > MAX_CONTENT:
            raise ValueError(f"content is larger than {MAX_CONTENT} octets; send a reference to it")
        return self

    def octets(self) -> bytes:
        """The octets of the content. Raises ValueError when ``data`` does not match
        ``encoding``.
        """
        if self.encoding == "utf-8":
            return self.data.encode()
        try:
            return base64.b64decode(self.data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"data is not base64: {error}") from None

    @classmethod
    def of(cls, data: str | bytes, type: str | None = None) -> Content:
        """Content of text, or of octets as base64."""
        if isinstance(data, str):
            return cls(data=data, type=type or "text/plain")
        return cls(
            data=base64.b64encode(data).decode(),
            encoding="base64",
            type=type or "application/octet-stream",
        )
