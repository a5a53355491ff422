"""One connection of an app: what it says, in order, and what it is told."""

from __future__ import annotations

from typing import Final

from aoi_events.client.core.state import application_key
from aoi_events.contracts.apps import AcknowledgeV1, AppRequest, AttachV1, Failed
from aoi_events.daemon.access import Peer, Rank
from aoi_events.daemon.app_commands import Desk
from aoi_events.daemon.attached_apps import Seat
from aoi_events.daemon.json_lines import Lines
from aoi_events.errors import ClientStopped, ErrorCode, Refusal
from aoi_events.platform.logs import get_logger

__all__ = ["serve_app"]

log = get_logger(__name__)

_ASK_WITHIN: Final = 10.0
"""Seconds that a connection may stand without asking for anything, unless it is attached."""


async def serve_app(lines: Lines, peer: Peer, rank: Rank | None, desk: Desk, within: float) -> None:
    """Serve it until either end closes; ``within``: how long an attached app may take to ack."""
    seat: Seat | None = None
    last: Failed | None = None
    try:
        if rank is None:
            raise Refusal(
                ErrorCode.NOT_ALLOWED,
                f"user {peer.user} may not use this AOI Client; AOI_CLIENT__GROUP says who may",
            )
        while request := await lines.next(within=_ASK_WITHIN if seat is None else None):
            if seat is not None:
                _acknowledge(seat, request)
            elif isinstance(request, AttachV1):
                key = application_key(request.application, request.instance)
                seat = Seat(key, user=peer.user, within=within, send=lines.send, end=lines.end)
                await desk.attach(request, peer, rank, seat)
            elif isinstance(request, AcknowledgeV1):
                raise Refusal(ErrorCode.INVALID, "attach first: this connection was given nothing")
            else:
                lines.send(await desk.ask(request, peer, rank))
                await lines.read()
    except Refusal as refusal:
        log.info("app_refused", user=peer.user, pid=peer.pid, code=refusal.code)
        last = Failed(code=refusal.code, message=refusal.message, field=refusal.field)
    except OSError as error:
        log.debug("app_connection_lost", reason=error.strerror)
    except ClientStopped:
        last = Failed(code=ErrorCode.UNAVAILABLE, message="the AOI Client is stopping")
    finally:
        if last is None:
            lines.end()
        if seat is not None:
            await desk.detach(seat)
        if last is not None:
            await lines.refuse(last)
        await lines.closed()


def _acknowledge(seat: Seat, request: AppRequest) -> None:
    if not isinstance(request, AcknowledgeV1):
        raise Refusal(
            ErrorCode.INVALID, "this connection is attached: it may send ack; ask on another one"
        )
    if not seat.acknowledge(request.delivery, request.code):
        raise Refusal(
            ErrorCode.NOT_FOUND, f"{request.delivery} does not wait for an acknowledgement here"
        )
