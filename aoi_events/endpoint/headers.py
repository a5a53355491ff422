"""Reads the header fields of a push (RFC 8030, section 5; RFC 8291, section 4; and its draft).

Pure. Raises HttpRefusal (400) for invalid values.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from aoi_events.contracts.content import ContentEncryption
from aoi_events.contracts.identifiers import Urgency, base64url
from aoi_events.contracts.requests import MAX_TTL
from aoi_events.endpoint.refusals import (
    INVALID_CRYPTO,
    INVALID_TOPIC,
    INVALID_TTL,
    MISSING_CRYPTO,
    MISSING_HEADER,
    HttpRefusal,
)
from aoi_events.errors import ErrorCode

Values = Callable[[str], Sequence[str]]
"""Returns the values of the header field with a name."""

_TOPIC: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)
_PARAMETER: Final = re.compile(
    r'\s*(?:([A-Za-z0-9._~+/-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([!#-+\--:<-~]*))\s*)?([;,]|$)',
    re.ASCII,
)
"""A parameter and its end (RFC 9110, section 5.6.6): its name; its value, quoted or not."""
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
_LONGEST: Final = 512
_SENDER_KEY: Final = "p256ecdsa"
_KEY_AT: Final = 16 + 4 + 1
"""Where the key begins in content that is encrypted with aes128gcm."""


@dataclass(frozen=True, slots=True)
class PushHeaders:
    """The options of a push; ``ttl`` in seconds, lowered to the longest one that is allowed."""

    ttl: int
    urgency: Urgency
    topic: str | None


def read_headers(values: Values) -> PushHeaders:
    """Read TTL, Urgency and Topic (RFC 8030, sections 5.2 to 5.4)."""
    ttl = _one(values, "TTL", INVALID_TTL)
    if ttl is None:
        raise _refusal("TTL", "send the header TTL, in seconds", MISSING_HEADER)
    if _SECONDS.fullmatch(ttl) is None:
        raise _refusal("TTL", "TTL is a number of seconds, 0 or more", INVALID_TTL)
    topic = _one(values, "Topic", INVALID_TOPIC)
    if topic is not None and _TOPIC.fullmatch(topic) is None:
        raise _refusal(
            "Topic", "Topic has 1 to 32 characters of A-Z, a-z, 0-9, - and _", INVALID_TOPIC
        )
    return PushHeaders(min(int(ttl), MAX_TTL), _urgency(values), topic)


def read_encryption(values: Values) -> ContentEncryption:
    """Read how the content is encrypted: by RFC 8188 or by the draft before it."""
    coding = _one(values, "Content-Encoding", INVALID_CRYPTO)
    if coding is None:
        raise _refusal(
            "Content-Encoding",
            "send the header Content-Encoding: content must be encrypted (RFC 8291)",
            MISSING_CRYPTO,
        )
    match coding.lower():
        case "aes128gcm":
            # The content itself contains everything that the device needs.
            return ContentEncryption(coding="aes128gcm")
        case "aesgcm":
            return ContentEncryption(
                coding="aesgcm",
                encryption=_parameters(values, "Encryption", "salt"),
                crypto_key=_parameters(values, "Crypto-Key", "dh"),
            )
        case _:
            raise _refusal(
                "Content-Encoding", "Content-Encoding is aes128gcm or aesgcm", INVALID_CRYPTO
            )


def _urgency(values: Values) -> Urgency:
    value = _one(values, "Urgency", None)
    try:
        return Urgency.NORMAL if value is None else Urgency(value.lower())
    except ValueError:
        raise _refusal("Urgency", "Urgency is very-low, low, normal or high", None) from None


def reuses_key(encryption: ContentEncryption, content: bytes, key: str) -> bool:
    """Whether the sender encrypted with ``key``, the VAPID key, in place of a key of its own."""
    if encryption.crypto_key is None:
        # RFC 8188, section 2.1: the salt, the record size, and the key with its length.
        end = _KEY_AT + content[_KEY_AT - 1] if len(content) >= _KEY_AT else 0
        return urlsafe_b64encode(content[_KEY_AT:end]).decode().rstrip("=") == key
    return f"dh={key}" in re.split("[;,]", encryption.crypto_key)


def key_reused() -> HttpRefusal:
    """The refusal of content that was encrypted with the VAPID key (RFC 8292)."""
    message = "encrypt with a key pair of its own, not with that of the VAPID credentials"
    return _refusal("Authorization", message, INVALID_CRYPTO)


def _parameters(values: Values, name: str, needed: str) -> str:
    """Read a field for the device: without quotes and padding, and without the sender's key.

    No device may see that key (RFC 8292, section 4.2). Devices split values at commas and
    semicolons, also quoted ones, so all characters but those of base64 are percent-encoded: a
    ``keyid`` is only compared, and is encoded alike in both fields.
    """
    text = ",".join(values(name))
    if not text.strip():
        raise _refusal(name, f"aesgcm needs the header {name}", MISSING_CRYPTO)
    entries: list[list[str]] = [[]]
    found = False
    at = 0
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            raise _refusal(name, f"{name} is not of the form name=value;…", INVALID_CRYPTO)
        at = parameter.end()
        key, quoted, bare, end = parameter.groups()
        if key is not None and key.lower() != _SENDER_KEY:
            value = bare if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            if key == needed:
                value = base64url(value)
                found |= _BASE64URL.fullmatch(value) is not None
            if not value:
                raise _refusal(name, f"{name} has a parameter without a value", INVALID_CRYPTO)
            entries[-1].append(f"{key}={quote(value, safe='+/', errors='surrogateescape')}")
        if end == ",":
            entries.append([])
    parameters = ",".join(";".join(entry) for entry in entries if entry)
    if not found:
        raise _refusal(name, f"{name} needs {needed}=, in base64url", MISSING_CRYPTO)
    if len(parameters) > _LONGEST:
        raise _refusal(name, f"{name} has more than {_LONGEST} characters", INVALID_CRYPTO)
    return parameters


def _one(values: Values, name: str, errno: int | None) -> str | None:
    found = values(name)
    if len(found) > 1:
        raise _refusal(name, f"send the header {name} once", errno)
    return found[0].strip() if found else None


def _refusal(name: str, message: str, errno: int | None) -> HttpRefusal:
    return HttpRefusal(HTTPStatus.BAD_REQUEST, ErrorCode.INVALID, message, errno=errno, field=name)
