"""Ports of the AOI Client: storage, connections, and event sources of the device."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol, TypeAlias

from aoi_events.client.core.inputs import ShortMessage
from aoi_events.client.core.model import Network
from aoi_events.contracts.device import DeviceFrame, ServerFrame


class Storage(Protocol):
    """Stores one value durably. Each method raises ClientStateError if it fails."""

    async def load(self) -> bytes | None:
        """The value saved last, None before the first; locks the storage until `close`."""

    async def save(self, data: bytes) -> None:
        """Save the value; on return it survives a power cut.

        After an error or a power cut, `load` returns the old value or the new one, whole.
        """

    async def close(self) -> None:
        """Unlock the storage."""


class Connection(Protocol):
    """One open connection to an AOI Server."""

    async def send(self, frame: DeviceFrame) -> None:
        """Send a frame. Raises ConnectionLost."""

    async def receive(self) -> ServerFrame:
        """The next frame. Raises ConnectionLost, also if the server is silent for too long."""

    async def close(self) -> None:
        """End the connection; never raises, returns within a few seconds."""


class Transport(Protocol):
    """Makes connections to an AOI Server."""

    async def connect(self) -> Connection:
        """An open connection. Raises ConnectionLost when none can be made."""


class NetworkEvents(Protocol):
    """The network of the device, and its changes."""

    @property
    def current(self) -> Network:
        """The network now."""

    def __aiter__(self) -> AsyncIterator[Network]:
        """Every later network; the source chooses in which steps it reports the battery."""


IdentityEvents: TypeAlias = AsyncIterable[str]
"""Every later user identity (another SIM, another login), 1 to 256 characters."""

PushSource: TypeAlias = AsyncIterable[bytes]
"""Every push that reaches the device over one channel, also those before the iteration.

The device decrypts or verifies them: a Web Push yields its plaintext, a webhook the body of a
request whose signature is valid (the secret is in `AoiClient.selected`).
"""

SmsSource: TypeAlias = AsyncIterable[ShortMessage]
"""Every short message to the push port of the device, also those before the iteration.

The AOI Client reassembles pushes that consist of several short messages.
"""
