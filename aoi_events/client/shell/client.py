"""The public interface of the AOI Client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from aoi_events.client.core.inputs import (
    ApplicationRemoved,
    ApplicationStarted,
    ApplicationStopped,
    CodeEntered,
    IdentityChanged,
    NetworkChanged,
    OffersChanged,
    ReconnectRequested,
)
from aoi_events.client.core.model import Model, Network
from aoi_events.client.core.reconnect import ReconnectPolicy
from aoi_events.client.core.state import ApplicationRecord, application_key
from aoi_events.client.ports import (
    IdentityEvents,
    NetworkEvents,
    PushSource,
    SmsSource,
    Storage,
    Transport,
)
from aoi_events.client.shell.application import Application
from aoi_events.client.shell.event_stream import ClientEventStream
from aoi_events.client.shell.mailbox import Handler, Wake
from aoi_events.client.shell.runner import Dependencies, Runner
from aoi_events.client.shell.websocket import WebSocketTransport
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.faults import in_words
from aoi_events.contracts.identifiers import (
    ApplicationName,
    Assertion,
    DeviceId,
    InstanceName,
    SenderKeyInput,
    UserIdentity,
)
from aoi_events.contracts.requests import ActivateChannelsV1, ChannelOffer
from aoi_events.errors import ConfigurationError, RequestRefused, RequestTimeout
from aoi_events.platform.clock import SystemClock, SystemDice
from aoi_events.platform.logs import get_logger
from aoi_events.ports.clock import Clock, Dice

_log = get_logger(__name__)

_WEBSOCKET_ONLY: Final = (ChannelOffer(type="websocket"),)
_PUSHED: Final = frozenset({"webhook", "webpush"})

S = TypeVar("S", str, str | None)


class AoiClient:
    """The one always-online connection of a device, for all of its applications (8.1).

    Use it as an async context manager: on entry it loads ``storage`` and begins, on exit it closes
    its connection. If the storage fails, the client stops, and the exit raises ClientStateError.

    - ``url`` of the gateway, with its path; or a ``transport``.
    - ``identity`` of the user now, and ``identities``, its changes. The client registers again if
      the stored registration has another identity. ``assertion`` is a signed JWT of the identity,
      for servers that verify identities; it is sent with a registration, and not stored.
    - ``offers`` are the channels that the device can use; ``sms`` and ``pushes`` (by channel:
      webpush, webhook) are the sources of their messages.
    - ``register_on``: register at once, or when the first application registers.
    - ``wake`` starts an app that does not run.
    - ``answer_within``: seconds after which a request without an answer is repeated.
    - ``handle_within``: seconds that an app may take for a notification; then its handler is
      cancelled, and the server stores the notification. Choose less than the server waits for a
      device (AOI_CHANNELS__WEBSOCKET__ACK_WITHIN, 10 s by default): after that it also tries other
      channels.

    Raises ConfigurationError.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        storage: Storage,
        device: str,
        identity: str | None = None,
        assertion: str | None = None,
        offers: Iterable[ChannelOffer] = _WEBSOCKET_ONLY,
        network: NetworkEvents | None = None,
        identities: IdentityEvents | None = None,
        sms: SmsSource | None = None,
        pushes: Mapping[str, PushSource] | None = None,
        wake: Wake | None = None,
        register_on: Literal["install", "first_application"] = "first_application",
        transport: Transport | None = None,
        reconnect_policy: ReconnectPolicy | None = None,
        answer_within: float = 15.0,
        handle_within: float = 8.0,
        clock: Clock | None = None,
        dice: Dice | None = None,
    ) -> None:
        if transport is None:
            if url is None:
                raise ConfigurationError("give the gateway's url, like ws://HOST:8090/aoi")
            transport = WebSocketTransport(url, answer_within=answer_within)
        if identity is None and identities is None:
            raise ConfigurationError("give identity, identities, or both: who uses the device?")
        if answer_within <= 0 or handle_within <= 0:
            raise ConfigurationError("answer_within and handle_within are seconds above 0")
        self._sms = sms
        self._pushes = dict(pushes or {})
        model = Model(
            device=_checked(DeviceId, device, "device"),
            identity=identity if identity is None else _checked(UserIdentity, identity, "identity"),
            assertion=_checked_assertion(assertion),
            offers=self._checked_offers(offers),
            register_on=register_on,
            can_wake=wake is not None,
            network=Network() if network is None else network.current,
        )
        self._network = network
        self._identities = identities
        self._runner = Runner(
            model,
            Dependencies(
                storage=storage,
                transport=transport,
                sms=sms,
                pushes=self._pushes,
                wake=wake,
                reconnect_policy=reconnect_policy or ReconnectPolicy(),
                answer_within=answer_within,
                handle_within=handle_within,
                clock=clock or SystemClock(),
                dice=dice or SystemDice(),
            ),
        )

    async def __aenter__(self) -> Self:
        await self._runner.start()
        if self._network is not None:
            self._runner.watch(self._network, NetworkChanged)
        if self._identities is not None:
            self._runner.watch(_valid(self._identities), IdentityChanged)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._runner.stop()
        if self._runner.failure is not None and error is None:
            raise self._runner.failure

    @property
    def client_id(self) -> str | None:
        """The AOI Client ID, None until the server has assigned one."""
        return self._runner.model.stored.client

    @property
    def connected(self) -> bool:
        """Whether the session is open now."""
        return self._runner.model.connected

    @property
    def channels(self) -> frozenset[str]:
        """Types of the channels that are active."""
        return self._runner.model.stored.active

    @property
    def selected(self) -> tuple[SelectedChannel, ...]:
        """The channels that the server selected, including those that are not confirmed yet."""
        return self._runner.model.stored.channels

    @property
    def applications(self) -> tuple[ApplicationRecord, ...]:
        """The stored record of every app instance, also of deregistered ones (not *wanted*)."""
        return tuple(self._runner.model.stored.applications.values())

    @property
    def identity(self) -> str | None:
        """The identity of the user now."""
        return self._runner.model.identity

    @property
    def network(self) -> Network:
        """The network that the client uses now."""
        return self._runner.model.network

    @property
    def trouble(self) -> str | None:
        """Why the last connection ended, or what was refused since then; None once connected."""
        return self._runner.trouble

    def events(self) -> ClientEventStream:
        """A stream of the events from now on, until the client stops."""
        return self._runner.observers.stream()

    async def until_registered(
        self, *, other_than: str | None = None, timeout: float | None = 30.0
    ) -> str:
        """Wait for an AOI Client ID that is not ``other_than``, and return it.

        ``timeout`` is in seconds. Raises RequestTimeout, ClientStopped.
        """
        await self._until(
            lambda model: model.stored.client not in (None, other_than), timeout, "an AOI Client ID"
        )
        return self._runner.model.stored.client or ""

    async def until_connected(self, *, timeout: float | None = 30.0) -> None:
        """Return when the session is open. Raises RequestTimeout, ClientStopped."""
        await self._until(lambda model: model.connected, timeout, "a session with the AOI Server")

    async def until_disconnected(self, *, timeout: float | None = 30.0) -> None:
        """Return when no session is open. Raises RequestTimeout, ClientStopped."""
        await self._until(lambda model: not model.connected, timeout, "the end of the session")

    async def until_channels(self, types: Collection[str], *, timeout: float | None = 30.0) -> None:
        """Return when all of these channels are active. Raises RequestTimeout, ClientStopped."""
        wanted = frozenset(types)
        what = f"active channels {', '.join(sorted(wanted))}"
        await self._until(lambda model: wanted <= model.stored.active, timeout, what)

    async def until_idle(self, *, timeout: float | None = 30.0) -> None:
        """Return when no app handles a notification, and every acknowledgement was sent.

        Without a connection they are stored for the next one. ``timeout`` is in seconds. Raises
        RequestTimeout, ClientStopped.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._until(lambda model: not model.handling, None, "an end of deliveries")
                await self._runner.flushed()
        except TimeoutError:
            raise RequestTimeout(f"apps were still busy after {timeout:g} s") from None

    async def register_application(
        self,
        application: str,
        handler: Handler,
        *,
        instance: str = "default",
        sender_key: str | None = None,
        timeout: float | None = 30.0,
    ) -> Application:
        """Register a running app instance: from now on ``handler`` gets its notifications.

        Call it at each start of the app: the server then sends the notifications that it stored
        meanwhile. Returns when there is a token (at once if one is stored). ``sender_key`` is a
        VAPID public key (RFC 8292, section 3.2: base64url of 65 octets): only a sender that proves
        this key may use the token. Another key means another token; None leaves the key unchanged.
        ``timeout`` is in seconds; after a RequestTimeout the client goes on with the request, and
        `Application.until_token` waits for it. Raises ConfigurationError for an invalid name or
        key, RequestRefused, ClientStopped.
        """
        _checked(ApplicationName, application, "application")
        _checked(InstanceName, instance, "instance")
        if sender_key is not None:
            sender_key = _checked(SenderKeyInput, sender_key, "sender_key")
        key = application_key(application, instance)
        self._runner.handlers[key] = handler
        await self._runner.put_and_wait(ApplicationStarted(application, instance, sender_key))
        await self.until_token(key, None, timeout)
        return Application(self, application, instance, key)

    async def set_offers(self, offers: Iterable[ChannelOffer]) -> None:
        """Change the channels that the device can use (8.1.2). Raises ConfigurationError."""
        await self._runner.put_and_wait(OffersChanged(self._checked_offers(offers)))

    async def set_identity(self, identity: str, *, assertion: str | None = None) -> None:
        """Change the user identity (8.1.1), or the ``assertion`` of the same identity.

        The assertion is a signed JWT, for servers that verify identities. Raises
        ConfigurationError.
        """
        _checked(UserIdentity, identity, "identity")
        _checked_assertion(assertion)
        await self._runner.put_and_wait(IdentityChanged(identity, assertion))

    async def confirm(self, channel: str, code: str) -> None:
        """Confirm a channel with the ``code`` of a challenge that the user has typed (8.1.2).

        Only channels that the device cannot read itself need this. An invalid code is ignored; the
        event Activated or Refused tells whether the server accepted it.
        """
        await self._runner.put_and_wait(CodeEntered(channel, code))

    async def reconnect(self) -> None:
        """Connect now, without the rest of a pause."""
        await self._runner.put_and_wait(ReconnectRequested())

    def record_of(self, key: str) -> ApplicationRecord | None:
        """The stored record of an app instance."""
        return self._runner.model.stored.applications.get(key)

    async def until_token(self, key: str, other_than: str | None, timeout: float | None) -> str:
        """The token of an app instance; see :meth:`Application.until_token`."""

        def registered(model: Model) -> bool:
            refusal = model.refusals.get(key)
            if refusal is not None and refusal.name == "application.register":
                raise RequestRefused(refusal.code, refusal.message)
            record = model.stored.applications.get(key)
            return record is not None and record.token not in (None, other_than)

        await self._until(registered, timeout, f"the token of {key}")
        record = self.record_of(key)
        return (record and record.token) or ""

    async def stop_application(self, key: str) -> None:
        """Mark an app instance as stopped; see :meth:`Application.stop`."""
        self._runner.handlers.pop(key, None)
        await self._runner.put_and_wait(ApplicationStopped(key))

    async def deregister_application(self, key: str, timeout: float | None) -> None:
        """End the registration of an app instance; see :meth:`Application.deregister`."""
        self._runner.handlers.pop(key, None)
        await self._runner.put_and_wait(ApplicationRemoved(key))

        def ended(model: Model) -> bool:
            refusal = model.refusals.get(key)
            if refusal is not None and refusal.name == "application.deregister":
                raise RequestRefused(refusal.code, refusal.message)
            record = model.stored.applications.get(key)
            return record is None or not record.due or record.wanted

        await self._until(ended, timeout, f"the end of {key}'s registration")

    async def _until(self, done: Callable[[Model], bool], timeout: float | None, what: str) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._runner.observers.until(self._runner.model, done)
        except TimeoutError:
            trouble = f"; last trouble: {self._runner.trouble}" if self._runner.trouble else ""
            raise RequestTimeout(f"{what} did not come within {timeout:g} s{trouble}") from None

    def _checked_offers(self, offers: Iterable[ChannelOffer]) -> tuple[ChannelOffer, ...]:
        checked = tuple(offers)
        try:
            ActivateChannelsV1(version=1, client="cli_" + "a" * 26, sequence=1, offers=checked)
        except ValidationError as error:
            raise ConfigurationError(f"offers: {in_words(error.errors()[0])}") from None
        if self._sms is None and any(offer.type == "sms" for offer in checked):
            raise ConfigurationError("an offer of sms needs sms=, the source of short messages")
        for offer in checked:
            if offer.type in _PUSHED and offer.type not in self._pushes:
                raise ConfigurationError(
                    f"an offer of {offer.type} needs its source in pushes=, like "
                    f'{{"{offer.type}": source}}'
                )
        return checked


async def _valid(identities: IdentityEvents) -> AsyncIterator[str]:
    """The identities, without those that no AOI Server accepts."""
    async for identity in identities:
        try:
            _checked(UserIdentity, identity, "identity")
        except ConfigurationError:
            _log.warning("identity_ignored", reason="not 1 to 256 characters")
        else:
            yield identity


def _checked(kind: Any, value: S, name: str) -> S:
    """``value``, validated as this kind. Raises ConfigurationError."""
    try:
        checked: S = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigurationError(f"{name}: {in_words(error.errors()[0])}") from None
    return checked


def _checked_assertion(assertion: str | None) -> str | None:
    return None if assertion is None else _checked(Assertion, assertion, "assertion")
