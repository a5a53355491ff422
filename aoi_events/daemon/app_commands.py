"""What apps and operators ask for, carried out with the library (8.1.1, 8.1.3)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Final

from aoi_events.client import AoiClient
from aoi_events.client.core.events import (
    ApplicationRegistered,
    ClientEvent,
    NotificationsLost,
    Refused,
)
from aoi_events.client.core.state import ApplicationRecord, application_key
from aoi_events.contracts.apps import (
    AppsListed,
    AppState,
    AttachV1,
    ClientFrame,
    ClientStatus,
    Failed,
    IdentitySet,
    ListAppsV1,
    Lost,
    QueryClientV1,
    RegisterAppV1,
    Registered,
    SetIdentityV1,
    UnregisterAppV1,
    Unregistered,
)
from aoi_events.daemon.access import Peer, Rank
from aoi_events.daemon.assertions import read_assertion
from aoi_events.daemon.attached_apps import Seat, Seats
from aoi_events.daemon.desired_apps import LIMIT, Wish, Wishes
from aoi_events.daemon.dispatcher import Hands
from aoi_events.daemon.settings import ClientSettings, device_name
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import (
    ClientStateError,
    ClientStopped,
    ConfigurationError,
    ErrorCode,
    Refusal,
    RequestRefused,
    RequestTimeout,
)
from aoi_events.platform.logs import get_logger

__all__ = ["Desk"]

log = get_logger(__name__)

_AT_ONCE: Final = 0.0
_CODES: Final = frozenset(ErrorCode)


class Desk:
    """Everything that can be asked for.

    One change at a time: each first keeps the wish, then lets the library carry it out.
    """

    def __init__(
        self,
        settings: ClientSettings,
        client: AoiClient,
        wishes: Wishes,
        seats: Seats,
        hands: Hands,
    ) -> None:
        self._settings = settings
        self._client = client
        self._wishes = wishes
        self._seats = seats
        self._hands = hands
        self._changing = asyncio.Lock()

    async def make_good(self, *, known: bool, owner: int) -> None:
        """At the start: let the library know every wish, whatever a kill left undone.

        ``known``: there were wishes; else what is registered becomes one, ``owner``'s.
        """
        wanted = [record for record in self._client.applications if record.wanted]
        if not known:
            await self._wishes.keep(
                *(Wish(r.application, r.instance, owner, sender_key=r.sender_key) for r in wanted)
            )
        for record in wanted:
            if self._wishes.app(record.key) is None:
                await self._deregister(record.key, _AT_ONCE)
        have = {record.key: record.sender_key for record in wanted}
        for wish in self._wishes.apps:
            if wish.key not in have or wish.sender_key not in (None, have[wish.key]):
                await self._register(wish)

    async def ask_again(self, key: str) -> None:
        """Have the server send what it has stored for an app instance that is not attached."""
        async with self._changing:
            wish = self._wishes.app(key)
            if wish is not None and self._seats.get(key) is None:
                with suppress(ClientStopped):
                    await self._register(wish)

    async def attach(self, request: AttachV1, peer: Peer, rank: Rank, seat: Seat) -> None:
        """The app instance runs: it gets what comes, and what the server has kept for it (8.1.3).

        Raises Refusal.
        """
        async with self._changing:
            wish = self._wish(request.application, request.instance, peer, rank)
            await self._keep(wish)
            self._seats.take(seat)
            token = self._token(seat.key)
            seat.welcome(request.application, request.instance, token)
            if wish.lost:
                seat.tell(Lost(count=wish.lost))
                await self._keep(replace(wish, lost=0))
            log.info("app_attached", application=wish.application, instance=wish.instance)
            await self._register(wish, runs=True)

    async def detach(self, seat: Seat) -> None:
        """A connection that was attached ended."""
        async with self._changing:
            if self._seats.free(seat):
                log.info("app_detached", app=seat.key)
                # Where the AOI Client has stopped, no app of it runs.
                with suppress(ClientStopped):
                    await self._client.stop_application(seat.key)

    async def ask(
        self,
        request: RegisterAppV1 | UnregisterAppV1 | ListAppsV1 | QueryClientV1 | SetIdentityV1,
        peer: Peer,
        rank: Rank,
    ) -> ClientFrame:
        """The answer to anything but ``attach`` and ``ack``. Raises Refusal."""
        match request:
            case RegisterAppV1():
                return await self._register_app(request, peer, rank)
            case UnregisterAppV1():
                return await self._unregister_app(request, peer, rank)
            case ListAppsV1():
                return self._apps(peer, rank)
            case QueryClientV1():
                return self._status()
            case SetIdentityV1():
                return await self._set_identity(request, rank)

    async def heard(self, event: ClientEvent) -> None:
        """Something happened to the AOI Client: tell apps what concerns them, those that are not
        attached when they are.
        """
        match event:
            case ApplicationRegistered():
                for seat in self._seats.all():
                    seat.tell_token(self._token(seat.key))
            case NotificationsLost(count=count):
                await self._tell_lost(count)
            case Refused(name="application.register", about=key, code=code, message=message):
                seat_refused = self._seats.get(key)
                if seat_refused is not None:
                    seat_refused.say(Failed(code=code, message=message))
            case _:
                pass

    async def _tell_lost(self, count: int) -> None:
        async with self._changing:
            for seat in self._seats.all():
                seat.tell(Lost(count=count))
            absent = [each for each in self._wishes.apps if self._seats.get(each.key) is None]
            try:
                await self._wishes.keep(*(replace(each, lost=each.lost + count) for each in absent))
            except ClientStateError as error:
                log.warning("lost_not_kept", count=count, reason=str(error))

    async def _register_app(self, request: RegisterAppV1, peer: Peer, rank: Rank) -> ClientFrame:
        if rank is not Rank.OPERATOR and (request.command or request.owner is not None):
            raise Refusal(
                ErrorCode.NOT_ALLOWED,
                "only the AOI Client's own user and root may set a command, or an owner: a command "
                "runs as the AOI Client's user",
            )
        async with self._changing:
            wish = self._wish(request.application, request.instance, peer, rank)
            if request.command is not None:
                wish = replace(wish, command=request.command)
            if request.owner is not None:
                wish = replace(wish, owner=request.owner)
            if request.sender_key is not None:
                wish = replace(wish, sender_key=request.sender_key)
            await self._keep(wish)
            await self._register(wish)
        with suppress(RequestTimeout):
            try:
                await self._client.until_token(wish.key, None, request.wait)
            except RequestRefused as refused:
                raise Refusal(_code(refused.code), refused.message) from refused
        return Registered(
            application=wish.application, instance=wish.instance, token=self._token(wish.key)
        )

    async def _unregister_app(
        self, request: UnregisterAppV1, peer: Peer, rank: Rank
    ) -> ClientFrame:
        key = application_key(request.application, request.instance)
        async with self._changing:
            wish = self._wishes.app(key)
            if wish is None or not _may(wish, peer, rank):
                raise Refusal(ErrorCode.NOT_FOUND, f"{key} is not registered here")
            try:
                await self._wishes.forget([key])
            except ClientStateError as error:
                raise Refusal(ErrorCode.UNAVAILABLE, str(error)) from error
            seat = self._seats.get(key)
            if seat is not None:
                seat.leave("unregistered")
                self._seats.free(seat)
            confirmed = await self._deregister(key, _AT_ONCE)
        if not confirmed and request.wait > 0:
            confirmed = await self._deregister(key, request.wait)
        log.info("app_unregistered", app=key, confirmed=confirmed)
        return Unregistered(
            application=request.application, instance=request.instance, confirmed=confirmed
        )

    def _apps(self, peer: Peer, rank: Rank) -> AppsListed:
        return AppsListed(
            apps=tuple(
                AppState(
                    application=wish.application,
                    instance=wish.instance,
                    attached=self._seats.get(wish.key) is not None,
                    owner=wish.owner,
                    command=wish.command,
                    fingerprint=None if token is None else fingerprint_of(token),
                )
                for wish in self._wishes.apps
                if _may(wish, peer, rank)
                for token in [self._token(wish.key)]
            )
        )

    def _status(self) -> ClientStatus:
        client, circumstances = self._client, self._client.network.circumstances
        return ClientStatus(
            url=self._settings.url or "",
            device=device_name(self._settings),
            connected=client.connected,
            client=client.client_id,
            channels=client.selected,
            bearer=circumstances.bearer,
            metered=circumstances.metered,
            apps=len(self._wishes.apps),
            attached=len(self._seats),
            trouble=client.trouble,
        )

    async def _set_identity(self, request: SetIdentityV1, rank: Rank) -> ClientFrame:
        if rank is not Rank.OPERATOR:
            raise Refusal(
                ErrorCode.NOT_ALLOWED,
                "only the AOI Client's own user and root may say who uses the device",
            )
        async with self._changing:
            try:
                assertion = read_assertion(self._settings.assertion_file)
                await self._wishes.keep_identity(request.identity, self._settings.identity)
            except (ClientStateError, ConfigurationError) as error:
                raise Refusal(ErrorCode.UNAVAILABLE, str(error)) from error
            await self._client.set_identity(request.identity, assertion=assertion)
        log.info("identity_set")
        return IdentitySet()

    def _wish(self, application: str, instance: str, peer: Peer, rank: Rank) -> Wish:
        """What is wished for this app instance already, or a new wish of this peer."""
        key = application_key(application, instance)
        known = self._wishes.app(key)
        if known is not None:
            if not _may(known, peer, rank):
                raise Refusal(ErrorCode.NOT_ALLOWED, f"{key} belongs to another user")
            return known
        if len(self._wishes.apps) >= LIMIT:
            raise Refusal(
                ErrorCode.QUOTA_EXCEEDED, f"{LIMIT} app instances are registered; unregister one"
            )
        return Wish(application, instance, peer.user)

    async def _keep(self, wish: Wish) -> None:
        try:
            await self._wishes.keep(wish)
        except ClientStateError as error:
            raise Refusal(ErrorCode.UNAVAILABLE, str(error)) from error

    async def _register(self, wish: Wish, *, runs: bool = False) -> None:
        """Have it registered; the server is asked as soon as it can be, and nobody waits here."""
        with suppress(RequestTimeout, RequestRefused):
            await self._client.register_application(
                wish.application,
                self._hands.give,
                instance=wish.instance,
                sender_key=wish.sender_key,
                timeout=_AT_ONCE,
            )
        if not runs and self._seats.get(wish.key) is None:
            await self._client.stop_application(wish.key)

    async def _deregister(self, key: str, within: float) -> bool:
        """Have it deregistered; whether the server has confirmed ``within`` seconds."""
        try:
            await self._client.deregister_application(key, within)
        except (RequestTimeout, RequestRefused):
            return False
        return True

    def _token(self, key: str) -> str | None:
        record: ApplicationRecord | None = self._client.record_of(key)
        return record.token if record is not None and record.wanted else None


def _may(wish: Wish, peer: Peer, rank: Rank) -> bool:
    return rank is Rank.OPERATOR or wish.owner == peer.user


def _code(code: str) -> ErrorCode:
    """The server's code, if it is one that we know."""
    return ErrorCode(code) if code in _CODES else ErrorCode.INTERNAL
