"""The app protocol: reads the requests of one connection in order, and answers them."""

from __future__ import annotations

from typing import Final

from aoi_events.client.core.state import application_key
from aoi_events.contracts.apps import AcknowledgeV1, AppRequest, AppRequestFailed, AttachV1
from aoi_events.daemon.access import Peer, Role
from aoi_events.daemon.app_commands import AppCommands
from aoi_events.daemon.app_connection import AppConnection
from aoi_events.daemon.attached_apps import AttachedApp
from aoi_events.errors import ClientStopped, ErrorCode, Refusal
from aoi_events.platform.logs import get_logger

log = get_logger(__name__)

_REQUEST_WITHIN: Final = 10.0
"""Seconds that a connection may be idle, unless its app is attached."""


async def serve_app(
    connection: AppConnection,
    peer: Peer,
    role: Role | None,
    commands: AppCommands,
    ack_within: float,
) -> None:
    """Serve a connection until either end closes it.

    An attached app has ``ack_within`` seconds to acknowledge a notification.
    """
    app: AttachedApp | None = None
    last: AppRequestFailed | None = None
    try:
        if role is None:
            raise Refusal(
                ErrorCode.NOT_ALLOWED,
                f"user {peer.user} may not use this AOI Client; set AOI_CLIENT__GROUP to a group "
                "of this user",
            )
        while request := await connection.receive(within=_REQUEST_WITHIN if app is None else None):
            if app is not None:
                _acknowledge(app, request)
            elif isinstance(request, AttachV1):
                key = application_key(request.application, request.instance)
                app = AttachedApp(
                    key, ack_within=ack_within, send=connection.send, close=connection.close
                )
                await commands.attach(request, peer, role, app)
            elif isinstance(request, AcknowledgeV1):
                raise Refusal(
                    ErrorCode.INVALID, "attach first: this connection got no notification"
                )
            else:
                connection.send(await commands.answer(request, peer, role))
                await connection.drain()
    except Refusal as refusal:
        log.info("app_refused", user=peer.user, pid=peer.pid, code=refusal.code)
        last = AppRequestFailed(code=refusal.code, message=refusal.message, field=refusal.field)
    except OSError as error:
        log.debug("app_connection_lost", reason=error.strerror)
    except ClientStopped:
        last = AppRequestFailed(code=ErrorCode.UNAVAILABLE, message="the AOI Client is stopping")
    finally:
        if last is None:
            connection.close()
        if app is not None:
            await commands.detach(app)
        if last is not None:
            await connection.send_last(last)
        await connection.closed()


def _acknowledge(app: AttachedApp, request: AppRequest) -> None:
    if not isinstance(request, AcknowledgeV1):
        raise Refusal(
            ErrorCode.INVALID,
            "this connection is attached, and may only send ack; use another connection",
        )
    if not app.acknowledge(request.delivery, request.code):
        raise Refusal(
            ErrorCode.NOT_FOUND, f"{request.delivery} does not wait for an acknowledgement here"
        )
