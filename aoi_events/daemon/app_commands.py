"""The commands of apps and operators, carried out with the library (8.1.1, 8.1.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    AppRegistered,
    AppRequestFailed,
    AppsListed,
    AppState,
    AttachV1,
    ClientFrame,
    ClientStatus,
    IdentitySet,
    ListAppsV1,
    Lost,
    QueryClientV1,
    RegisterAppV1,
    SetIdentityV1,
    UnregisterAppV1,
    Unregistered,
)
from aoi_events.daemon.access import Peer, Role
from aoi_events.daemon.assertions import read_assertion
from aoi_events.daemon.attached_apps import AttachedApp, AttachedApps
from aoi_events.daemon.desired_apps import LIMIT, DesiredApp, DesiredApps
from aoi_events.daemon.dispatcher import AppDispatcher
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
from aoi_events.platform.printable import without_secrets

log = get_logger(__name__)

_AT_ONCE: Final = 0.0
_CHANGED_BY_REGISTER: Final = {"command", "owner", "sender_key"}
_CODES: Final = frozenset(ErrorCode)


class AppCommands:
    """The commands of the app protocol.

    Changes are made one at a time: each is saved first, and then carried out by the library.
    """

    def __init__(
        self,
        settings: ClientSettings,
        client: AoiClient,
        desired: DesiredApps,
        attached: AttachedApps,
        dispatcher: AppDispatcher,
    ) -> None:
        self._settings = settings
        self._client = client
        self._desired = desired
        self._attached = attached
        self._dispatcher = dispatcher
        self._changing = asyncio.Lock()

    async def reconcile(self, *, known: bool, owner: int) -> None:
        """At the start: register and deregister app instances as `DesiredApps` has them.

        ``known``: there was a file of desired apps. If not, the registered app instances become
        desired apps of ``owner``.
        """
        wanted = [record for record in self._client.applications if record.wanted]
        if not known:
            await self._desired.save(
                *(
                    DesiredApp(r.application, r.instance, owner, sender_key=r.sender_key)
                    for r in wanted
                )
            )
        for record in wanted:
            if self._desired.get(record.key) is None:
                await self._deregister(record.key, _AT_ONCE)
        have = {record.key: record.sender_key for record in wanted}
        for desired in self._desired.all:
            if desired.key not in have or desired.sender_key not in (None, have[desired.key]):
                await self._register(desired)

    async def register_again(self, key: str) -> None:
        """Register an app instance that is not attached: the server sends what it has stored."""
        async with self._changing:
            desired = self._desired.get(key)
            if desired is not None and self._attached.get(key) is None:
                with suppress(ClientStopped):
                    await self._register(desired)

    async def attach(self, request: AttachV1, peer: Peer, role: Role, app: AttachedApp) -> None:
        """The app instance runs: it gets new notifications and stored ones (8.1.3).

        Raises Refusal, also if the app instance is not registered: its name may be misspelt.
        """
        async with self._changing:
            desired = self._find(app.key, peer, role)
            if desired is None:
                raise Refusal(
                    ErrorCode.NOT_FOUND,
                    f"{app.key} is not registered here; check the name, or register it first",
                    field="application",
                )
            self._attached.add(app)
            token = self._token(app.key)
            app.welcome(request.application, request.instance, token)
            if desired.lost:
                app.send(Lost(count=desired.lost))
                await self._save(replace(desired, lost=0))
            log.info("app_attached", application=desired.application, instance=desired.instance)
            await self._register(desired, runs=True)

    async def detach(self, app: AttachedApp) -> None:
        """The connection of an attached app ended."""
        async with self._changing:
            if self._attached.remove(app):
                log.info("app_detached", app=app.key)
                # If the AOI Client has stopped, it runs no app.
                with suppress(ClientStopped):
                    await self._client.stop_application(app.key)

    async def answer(
        self,
        request: RegisterAppV1 | UnregisterAppV1 | ListAppsV1 | QueryClientV1 | SetIdentityV1,
        peer: Peer,
        role: Role,
    ) -> ClientFrame:
        """The answer to a request other than ``attach`` and ``ack``. Raises Refusal."""
        match request:
            case RegisterAppV1():
                return await self._register_app(request, peer, role)
            case UnregisterAppV1():
                return await self._unregister_app(request, peer, role)
            case ListAppsV1():
                return self._apps(peer, role)
            case QueryClientV1():
                return self._status()
            case SetIdentityV1():
                return await self._set_identity(request, role)

    async def handle_event(self, event: ClientEvent) -> None:
        """Inform apps of an event of the AOI Client that concerns them.

        Of lost notifications, apps that are not attached are informed when they attach.
        """
        match event:
            case ApplicationRegistered():
                for app in self._attached.all():
                    app.send_token(self._token(app.key))
            case NotificationsLost(count=count):
                await self._report_lost(count)
            case Refused(name="application.register", about=key, code=code, message=message):
                refused = self._attached.get(key)
                if refused is not None:
                    refused.send_last(AppRequestFailed(code=code, message=message))
            case _:
                pass

    async def _report_lost(self, count: int) -> None:
        async with self._changing:
            for app in self._attached.all():
                app.send(Lost(count=count))
            absent = [each for each in self._desired.all if self._attached.get(each.key) is None]
            try:
                await self._desired.save(
                    *(replace(each, lost=each.lost + count) for each in absent)
                )
            except ClientStateError as error:
                log.warning("lost_count_not_saved", count=count, reason=str(error))

    async def _register_app(self, request: RegisterAppV1, peer: Peer, role: Role) -> ClientFrame:
        if role is not Role.OPERATOR and (request.command or request.owner is not None):
            raise Refusal(
                ErrorCode.NOT_ALLOWED,
                "only the AOI Client's own user and root may set a command, or an owner: a command "
                "runs as the AOI Client's user",
            )
        async with self._changing:
            desired = self._find_or_new(request.application, request.instance, peer, role)
            named = request.model_dump(include=_CHANGED_BY_REGISTER, exclude_none=True)
            desired = replace(desired, **named)
            await self._save(desired)
            await self._register(desired)
        with suppress(RequestTimeout):
            try:
                await self._client.until_token(desired.key, None, request.wait)
            except RequestRefused as refused:
                raise Refusal(_code(refused.code), refused.message) from refused
        return AppRegistered(
            application=desired.application,
            instance=desired.instance,
            token=self._token(desired.key),
        )

    async def _unregister_app(
        self, request: UnregisterAppV1, peer: Peer, role: Role
    ) -> ClientFrame:
        key = application_key(request.application, request.instance)
        async with self._changing:
            desired = self._desired.get(key)
            if desired is None or not _may(desired, peer, role):
                raise Refusal(ErrorCode.NOT_FOUND, f"{key} is not registered here")
            with _refused_as_unavailable():
                await self._desired.remove(key)
            app = self._attached.get(key)
            if app is not None:
                app.detach("unregistered")
                self._attached.remove(app)
            confirmed = await self._deregister(key, _AT_ONCE)
        if not confirmed and request.wait > 0:
            confirmed = await self._deregister(key, request.wait)
        log.info("app_unregistered", app=key, confirmed=confirmed)
        return Unregistered(
            application=request.application, instance=request.instance, confirmed=confirmed
        )

    def _apps(self, peer: Peer, role: Role) -> AppsListed:
        return AppsListed(
            apps=tuple(
                AppState(
                    application=desired.application,
                    instance=desired.instance,
                    attached=self._attached.get(desired.key) is not None,
                    owner=desired.owner,
                    command=desired.command,
                    fingerprint=None if token is None else fingerprint_of(token),
                )
                for desired in self._desired.all
                if _may(desired, peer, role)
                for token in [self._token(desired.key)]
            )
        )

    def _status(self) -> ClientStatus:
        client, circumstances = self._client, self._client.network.circumstances
        return ClientStatus(
            url=without_secrets(self._settings.url or ""),
            device=device_name(self._settings),
            connected=client.connected,
            client=client.client_id,
            channels=client.selected,
            bearer=circumstances.bearer,
            metered=circumstances.metered,
            apps=len(self._desired.all),
            attached=len(self._attached),
            trouble=client.trouble,
        )

    async def _set_identity(self, request: SetIdentityV1, role: Role) -> ClientFrame:
        if role is not Role.OPERATOR:
            raise Refusal(
                ErrorCode.NOT_ALLOWED,
                "only the AOI Client's own user and root may set the user identity",
            )
        async with self._changing:
            with _refused_as_unavailable():
                assertion = read_assertion(self._settings.assertion_file)
                await self._desired.save_identity(request.identity, self._settings.identity)
            await self._client.set_identity(request.identity, assertion=assertion)
        log.info("identity_set")
        return IdentitySet()

    def _find(self, key: str, peer: Peer, role: Role) -> DesiredApp | None:
        """The desired app instance, None for an unknown one. Raises Refusal."""
        known = self._desired.get(key)
        if known is not None and not _may(known, peer, role):
            raise Refusal(ErrorCode.NOT_ALLOWED, f"{key} belongs to another user")
        return known

    def _find_or_new(self, application: str, instance: str, peer: Peer, role: Role) -> DesiredApp:
        """The desired app instance, or a new one of this peer. Raises Refusal."""
        known = self._find(application_key(application, instance), peer, role)
        if known is not None:
            return known
        if len(self._desired.all) >= LIMIT:
            raise Refusal(
                ErrorCode.QUOTA_EXCEEDED, f"{LIMIT} app instances are registered; unregister one"
            )
        return DesiredApp(application, instance, peer.user)

    async def _save(self, desired: DesiredApp) -> None:
        with _refused_as_unavailable():
            await self._desired.save(desired)

    async def _register(self, desired: DesiredApp, *, runs: bool = False) -> None:
        """Start the registration, without waiting for the AOI Server."""
        with suppress(RequestTimeout, RequestRefused):
            await self._client.register_application(
                desired.application,
                self._dispatcher.dispatch,
                instance=desired.instance,
                sender_key=desired.sender_key,
                timeout=_AT_ONCE,
            )
        if not runs and self._attached.get(desired.key) is None:
            await self._client.stop_application(desired.key)

    async def _deregister(self, key: str, within: float) -> bool:
        """Deregister; whether the AOI Server has confirmed ``within`` seconds."""
        try:
            await self._client.deregister_application(key, within)
        except (RequestTimeout, RequestRefused):
            return False
        return True

    def _token(self, key: str) -> str | None:
        record: ApplicationRecord | None = self._client.record_of(key)
        return record.token if record is not None and record.wanted else None


@contextmanager
def _refused_as_unavailable() -> Iterator[None]:
    """Refuse a command that files of the daemon prevent."""
    try:
        yield
    except (ClientStateError, ConfigurationError) as error:
        raise Refusal(ErrorCode.UNAVAILABLE, str(error)) from error


def _may(desired: DesiredApp, peer: Peer, role: Role) -> bool:
    return role is Role.OPERATOR or desired.owner == peer.user


def _code(code: str) -> ErrorCode:
    """The code of the AOI Server, or ``internal`` for an unknown one."""
    return ErrorCode(code) if code in _CODES else ErrorCode.INTERNAL
