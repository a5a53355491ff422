"""Requests of devices over the broker: for devices that use AMQP, for tests and for tools."""

from __future__ import annotations

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
from aoi_events.publishing.server_rpc import ServerRpc


class DeviceRequests(ServerRpc):
    """Sends the requests of AOI Clients; takes and returns contracts, and stores no state.

    The caller stores secrets, sequence numbers and tokens; most devices use ``aoi_events.client``
    instead, which stores them. ``broker`` is a URL (see :func:`aoi_events.broker.open.open_broker`)
    or an open broker, which the caller closes. ``timeout`` in seconds bounds each request.

    Requests are idempotent: an identical repeat gets the same answer. Each raises RequestRefused
    with the server's code, RequestTimeout, BrokerUnavailable if the connection was lost before the
    answer, PublishRefused if no AOI Server runs, and UnexpectedAnswer.
    """

    async def register(
        self, request: RegisterClientV1, *, timeout: float | None = None
    ) -> ClientRegisteredV1:
        """Register an AOI Client (8.1.1). Store the secret before this, and the ID after it."""
        return await self._ask(request, ClientRegisteredV1, timeout=timeout)

    async def deregister(
        self, request: DeregisterClientV1, *, timeout: float | None = None
    ) -> ClientDeregisteredV1:
        """End the registration of an AOI Client."""
        return await self._ask(request, ClientDeregisteredV1, timeout=timeout)

    async def register_application(
        self, request: RegisterApplicationV1, *, timeout: float | None = None
    ) -> ApplicationRegisteredV1:
        """Register an app instance; the answer has its Application Client Token (8.1.3)."""
        return await self._ask(request, ApplicationRegisteredV1, timeout=timeout)

    async def deregister_application(
        self, request: DeregisterApplicationV1, *, timeout: float | None = None
    ) -> ApplicationDeregisteredV1:
        """End the token of an app instance."""
        return await self._ask(request, ApplicationDeregisteredV1, timeout=timeout)

    async def activate_channels(
        self, request: ActivateChannelsV1, *, timeout: float | None = None
    ) -> ChannelsActivatedV1:
        """Offer notification channels (8.1.2)."""
        return await self._ask(request, ChannelsActivatedV1, timeout=timeout)

    async def confirm_channel(
        self, request: ConfirmChannelV1, *, timeout: float | None = None
    ) -> ChannelsActivatedV1:
        """Prove the address of a pending channel with the code that arrived there."""
        return await self._ask(request, ChannelsActivatedV1, timeout=timeout)

    async def deactivate_channels(
        self, request: DeactivateChannelsV1, *, timeout: float | None = None
    ) -> ChannelsActivatedV1:
        """Deactivate some notification channels, or all."""
        return await self._ask(request, ChannelsActivatedV1, timeout=timeout)

    async def fetch(
        self, request: FetchNotificationV1, *, timeout: float | None = None
    ) -> NotificationContentV1:
        """Fetch the content of a wake-up."""
        return await self._ask(request, NotificationContentV1, timeout=timeout)
