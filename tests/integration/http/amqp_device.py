"""A device that sends its requests over the broker, each only when a test calls it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping

from aoi_events import DeviceRequests
from aoi_events.contracts.answers import (
    ChannelsActivatedV1,
    NotificationContentV1,
)
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    ChannelOffer,
    ConfirmChannelV1,
    FetchNotificationV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.domain.clients.channels import Parameters


class AmqpDevice:
    """An AOI Client that sends its requests over the broker."""

    def __init__(self, requests: DeviceRequests, name: str) -> None:
        self.client = ""
        self.token = ""
        self._name = name
        self._requests = requests
        octets = secrets.token_bytes(32)
        self._secret = base64.urlsafe_b64encode(octets).decode().rstrip("=")
        self._hash = hashlib.sha256(octets).hexdigest()
        self._sequence = 0

    async def register(self) -> None:
        """Become an AOI Client with one app."""
        request = RegisterClientV1(
            version=1, device=self._name, identity=self._name, secret_hash=self._hash
        )
        self.client = (await self._requests.register(request)).client
        app = RegisterApplicationV1(
            version=1,
            client=self.client,
            secret=self._secret,
            application="org.mail",
            sequence=self._next(),
        )
        self.token = (await self._requests.register_application(app)).token or ""

    async def offer(self, channel: str, parameters: Parameters) -> ChannelsActivatedV1:
        """Offer one channel, and nothing else."""
        return await self.offer_all({channel: parameters})

    async def offer_all(self, offers: Mapping[str, Parameters]) -> ChannelsActivatedV1:
        """Offer channels, best first, and nothing else."""
        request = ActivateChannelsV1(
            version=1,
            client=self.client,
            secret=self._secret,
            sequence=self._next(),
            offers=tuple(
                ChannelOffer(type=channel, parameters=parameters)
                for channel, parameters in offers.items()
            ),
        )
        return await self._requests.activate_channels(request)

    async def selected(self, channel: str, parameters: Parameters) -> SelectedChannel:
        """Offer one channel, and return it as it was selected."""
        [selected] = (await self.offer(channel, parameters)).selected
        assert selected.type == channel
        return selected

    async def confirm(self, channel: str, code: str) -> SelectedChannel:
        """Confirm a channel with a code. Raises RequestRefused."""
        request = ConfirmChannelV1(
            version=1, client=self.client, secret=self._secret, channel=channel, code=code
        )
        selected = (await self._requests.confirm_channel(request)).selected
        return next(each for each in selected if each.type == channel)

    async def fetch(self, delivery: str) -> NotificationContentV1:
        """The content behind a wake-up."""
        request = FetchNotificationV1(
            version=1, client=self.client, secret=self._secret, delivery=delivery
        )
        return await self._requests.fetch(request)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
