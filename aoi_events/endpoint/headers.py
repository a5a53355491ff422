"""Reads the header fields of a push (RFC 8030, section 5; RFC 8291, section 4; and its draft).

Pure. Raises HttpRefusal (400) for invalid values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aoi_events.contracts.content import ContentEncryption
from aoi_events.contracts.identifiers import Urgency
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
_WORD: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,200}", re.ASCII)
_LONGEST: Final = 512


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


def _parameters(values: Values, name: str, needed: str) -> str:
    """Read a field for the device: without quotes and padding, and without the sender's key.

    No device may see that key (RFC 8292, section 4.2).
    """
    text = ",".join(values(name))
    if not text.strip():
        raise _refusal(name, f"aesgcm needs the header {name}", MISSING_CRYPTO)
    entries = []
    found = False
    for entry in text.split(","):
        parts = []
        for part in entry.split(";"):
            key, equals, value = (each.strip() for each in part.partition("="))
            value = value.strip('"').rstrip("=")
            if not key and not equals:
                continue
            if not equals or not _WORD.fullmatch(key) or not _WORD.fullmatch(value):
                raise _refusal(name, f"{name} is not of the form name=value;…", INVALID_CRYPTO)
            if key.lower() == "p256ecdsa":
                continue
            found |= key == needed and _BASE64URL.fullmatch(value) is not None
            parts.append(f"{key}={value}")
        if parts:
            entries.append(";".join(parts))
    parameters = ",".join(entries)
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
