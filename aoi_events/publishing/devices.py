"""The devices' side over the broker: for fleets that speak AMQP, for tests and for tools."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientDeregisteredV1,
    ClientRegisteredV1,
    NotificationContentV1,
)
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    ConfirmChannelV1,
    DeactivateChannelsV1,
    DeregisterApplicationV1,
    DeregisterClientV1,
    FetchNotificationV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.ports.broker import Broker
from aoi_events.publishing.session import DEFAULT_TIMEOUT, Session


class DeviceRequests:
    """Requests of AOI Clients; takes and returns contracts, and holds nothing of any client.

    Secrets, sequence numbers and tokens are the caller's to keep; most devices want
    ``aoi_events.client`` instead, which does. ``broker`` is a URL (see
    :func:`aoi_events.broker.open.open_broker`) or an open broker, which stays the caller's to
    close. ``timeout`` in seconds bounds each request.

    Every request may be repeated as it is: a repeat is answered like the first. Each raises
    RequestRefused with the server's code, RequestTimeout, BrokerUnavailable when the connection
    was lost half-way, PublishRefused when no AOI Server is there, and UnexpectedAnswer.
    """

    def __init__(self, broker: str | Broker, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._session = Session(broker, name="DeviceRequests", timeout=timeout)

    @classmethod
    async def connect(cls, broker: str | Broker, *, timeout: float = DEFAULT_TIMEOUT) -> Self:
        """The same, opened already; :meth:`close` it in the end."""
        devices = cls(broker, timeout=timeout)
        await devices.open()
        return devices

    async def open(self) -> None:
        """Connect; ``async with`` does it."""
        await self._session.open()

    async def close(self) -> None:
        """Disconnect. Idempotent; ``async with`` does it."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def register(
        self, request: RegisterClientV1, *, timeout: float | None = None
    ) -> ClientRegisteredV1:
        """Ask for an AOI Client ID (8.1.1). Store the secret before this, the ID after it."""
        return await self._session.ask(request, ClientRegisteredV1, timeout=timeout)

    async def deregister(
        self, request: DeregisterClientV1, *, timeout: float | None = None
    ) -> ClientDeregisteredV1:
        """Give an AOI Client ID up."""
        return await self._session.ask(request, ClientDeregisteredV1, timeout=timeout)

    async def register_application(
        self, request: RegisterApplicationV1, *, timeout: float | None = None
    ) -> ApplicationRegisteredV1:
        """Ask for an Application Client Token (8.1.3)."""
        return await self._session.ask(request, ApplicationRegisteredV1, timeout=timeout)

    async def deregister_application(
        self, request: DeregisterApplicationV1, *, timeout: float | None = None
    ) -> ApplicationDeregisteredV1:
        """End the token of an app instance."""
        return await self._session.ask(request, ApplicationDeregisteredV1, timeout=timeout)

    async def activate_channels(
        self, request: ActivateChannelsV1, *, timeout: float | None = None
    ) -> ChannelsActivatedV1:
        """Offer notification channels (8.1.2)."""
        return await self._session.ask(request, ChannelsActivatedV1, timeout=timeout)

    async def confirm_channel(
        self, request: ConfirmChannelV1, *, timeout: float | None = None
    ) -> ChannelsActivatedV1:
        """Prove the address of a pending channel with the code that arrived there."""
        return await self._session.ask(request, ChannelsActivatedV1, timeout=timeout)

    async def deactivate_channels(
        self, request: DeactivateChannelsV1, *, timeout: float | None = None
    ) -> ChannelsActivatedV1:
        """Stop using some notification channels, or all."""
        return await self._session.ask(request, ChannelsActivatedV1, timeout=timeout)

    async def fetch(
        self, request: FetchNotificationV1, *, timeout: float | None = None
    ) -> NotificationContentV1:
        """The content behind a wake-up."""
        return await self._session.ask(request, NotificationContentV1, timeout=timeout)
