"""Identifiers and small vocabularies that cross the wire, with their bounds.

IDs that we make are a prefix and 26 characters of lower-case base32 (RFC 4648, section 6, without
padding): 128 bits that a person can read out and a URL can carry.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

ClientId = Annotated[str, Field(pattern=r"^cli_[a-z2-7]{26}$")]
"""AOI Client ID, assigned at registration (8.2.1)."""
DeliveryId = Annotated[str, Field(pattern=r"^dlv_[a-z2-7]{26}$")]
"""One notification for one token; derived from sender, notification and token."""
Fingerprint = Annotated[str, Field(pattern=r"^fp_[a-z2-7]{13}$")]
"""The first 64 bits of a token's SHA-256: names a token without being one."""
TokenText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")]
"""Application Client Token: opaque; a capability, so never logged."""
ClientSecret = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""256 random bits that the AOI Client made, base64url without padding."""
SecretHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of the decoded secret, in hexadecimal."""
NotificationId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
"""Chosen by the sender, unique among the sender's notifications."""
SenderKey = Annotated[str, Field(pattern=r"^B[A-P][A-Za-z0-9_-]{84}[AEIMQUYcgkosw048]$")]
"""Whom a token takes notifications from: base64url without padding of an uncompressed P-256 public
key, 65 octets (RFC 8292, section 3.2)."""
NodeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""A gateway's queue, whose name ends with it; each queue that a gateway opens has a new one."""
SessionName = Annotated[str, Field(pattern=r"^[a-z0-9]{1,32}$")]
"""One connection of a device to a gateway; never used again."""
MAX_SESSION: Final = 64
SessionText = Annotated[str, Field(max_length=MAX_SESSION)]
"""Names a session, as its device remembers it; compared and nothing else."""
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
"""Of two notifications with one topic only the newer matters (RFC 8030, section 5.4)."""
PLAIN_TEXT = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""Text without control characters: databases refuse NUL, and terminals obey escape codes."""
_URL_SAFE: Final = str.maketrans("+/", "-_")

DeviceId = Annotated[str, Field(min_length=1, max_length=128, pattern=PLAIN_TEXT)]
"""Names the device, for people; proves nothing."""
UserIdentity = Annotated[str, Field(min_length=1, max_length=256, pattern=PLAIN_TEXT)]
"""The user of the AOI Client: an MSISDN, a SIP URI, any opaque text."""
Assertion = Annotated[str, Field(max_length=4096, pattern=r"^[\w-]+\.[\w-]+\.[\w-]+$")]
"""A signed JWT (RFC 7519, compact form); its bearer is taken for its subject."""
ApplicationName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""An application, for example its package name."""
InstanceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""One installation of an application on a device."""
ChannelType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""Type of a notification channel, as its plug-in names it."""


class Urgency(StrEnum):
    """How much a notification matters to the user (RFC 8030, section 5.3)."""

    VERY_LOW = "very-low"
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Mode(StrEnum):
    """How the channels of one delivery follow each other in time."""

    FALLBACK = "fallback"
    """Each when those before it failed, or did not acknowledge in time."""
    PARALLEL = "parallel"
    """All at once."""
    HEDGED = "hedged"
    """Each a head start after the one before it, unless that was acknowledged; at once where those
    before it failed."""


HedgeAfter = Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]
"""Head start of a channel before the next one, in seconds: from a tenth to a day."""


def base32_id(prefix: str, octets: bytes) -> str:
    """``prefix`` and ``octets`` in lower-case base32 without padding."""
    return prefix + base64.b32encode(octets).decode().rstrip("=").lower()


def id_octets(identifier: str) -> bytes:
    """The octets of an ID made by :func:`base32_id`. Raises ValueError for anything else."""
    text = identifier.partition("_")[2].upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))


def base64url(text: str) -> str:
    """``text`` in base64 (RFC 4648, section 4) or base64url as base64url without padding."""
    return text.rstrip("=").translate(_URL_SAFE)


def _respelt(value: Any) -> Any:
    return base64url(value) if isinstance(value, str) else value


SenderKeyInput = Annotated[SenderKey, BeforeValidator(_respelt)]
"""A :data:`SenderKey` that may be in standard base64, and may have padding."""
