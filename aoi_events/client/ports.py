"""What an AOI Client needs from the device that it runs on, and from the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from aoi_events.client.core.inputs import ShortMessage
from aoi_events.client.core.model import Network
from aoi_events.contracts.device import DeviceFrame, ServerFrame

__all__ = [
    "Connection",
    "IdentityEvents",
    "NetworkEvents",
    "PushSource",
    "SmsSource",
    "Storage",
    "Transport",
]


class Storage(Protocol):
    """Keeps one value durably. Raises ClientStateError when it cannot."""

    async def load(self) -> bytes | None:
        """The value saved last, None before the first; takes hold of the place until `close`."""

    async def save(self, data: bytes) -> None:
        """Save; on return the value survives a power cut, and before it the one before does."""

    async def close(self) -> None:
        """Let go of the place."""


class Connection(Protocol):
    """One open connection to an AOI Server."""

    async def send(self, frame: DeviceFrame) -> None:
        """Send a frame. Raises ConnectionLost."""

    async def receive(self) -> ServerFrame:
        """The next frame. Raises ConnectionLost, also after too long a silence."""

    async def close(self) -> None:
        """End the connection; never raises, returns within a few seconds."""


class Transport(Protocol):
    """Makes connections."""

    async def connect(self) -> Connection:
        """An open connection. Raises ConnectionLost when none can be made."""


class NetworkEvents(Protocol):
    """The network that the device has, and its changes."""

    @property
    def current(self) -> Network:
        """The network now."""

    def __aiter__(self) -> AsyncIterator[Network]:
        """Every later network; how fine the battery is told apart is the source's choice."""


class IdentityEvents(Protocol):
    """Changes of the user identity (another SIM, another login)."""

    def __aiter__(self) -> AsyncIterator[str]:
        """Every later identity, 1 to 256 characters."""


class PushSource(Protocol):
    """What reaches the device over one channel that pushes, opened and verified by the device.

    Of a Web Push the plaintext; of a webhook the body of a request whose signature is good (the
    secret is in `AoiClient.selected`).
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Every push; those that came before are kept for it."""


class SmsSource(Protocol):
    """Short messages addressed to the push port, as the device's push client hands them on.

    Of a push of several messages each one comes by itself; the AOI Client puts them together.
    """

    def __aiter__(self) -> AsyncIterator[ShortMessage]:
        """Every message; those that came before are kept for it."""
