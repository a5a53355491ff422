"""Where clients are connected: sessions that open, go on at another node, and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aoi_events.contracts.answers import (
    ClientConnectedV1,
    ClientDisconnectedV1,
    ConfirmedSession,
    SessionsConfirmedV1,
)
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import CloseItem
from aoi_events.contracts.requests import (
    ConfirmSessionsV1,
    ConnectClientV1,
    DisconnectClientV1,
    OpenSession,
)
from aoi_events.domain.clients.client import Client, Presence, connected
from aoi_events.domain.clients.sessions import continued, same_session
from aoi_events.errors import Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Store
from aoi_events.services.activation.channel_set import closed_by_server
from aoi_events.services.clients.unit_of_work import LockedClients
from aoi_events.services.messages.answers import answer
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.envelopes import batches
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.topology import gateway_queue


async def confirm_unchanged(
    store: Store, items: Sequence[IncomingRequest]
) -> tuple[list[Outbound], Sequence[IncomingRequest]]:
    """The answers to gateways whose sessions the store has as they are; and the other items, with
    only the sessions that differ.

    Gateways repeat their sessions all the time: one statement reads them, and none is locked.
    """
    asked = {
        session.client
        for item in items
        if isinstance(item.request, ConfirmSessionsV1)
        for session in item.request.sessions
    }
    if not asked:
        return [], items
    async with store.transaction(read_only=True) as tx:
        clients = await tx.clients(asked)
    outputs: list[Outbound] = []
    left: list[IncomingRequest] = []
    for item in items:
        request = item.request
        if isinstance(request, ConfirmSessionsV1):
            differing = tuple(
                session
                for session in request.sessions
                if not _unchanged(clients.get(session.client), session, request.node)
            )
            if not differing:
                outputs += answer(item.message, SessionsConfirmedV1(changed=()))
            else:
                fewer = request.model_copy(update={"sessions": differing})
                left.append(replace(item, request=fewer))
        else:
            left.append(item)
    return outputs, left


def _unchanged(client: Client | None, session: OpenSession, node: str) -> bool:
    """Whether the store has the session as its gateway does."""
    return (
        client is not None
        and not client.retired
        and client.epoch == session.epoch
        and client.presence == Presence(node=node, session=session.session)
    )


def connect(
    locked: LockedClients, incoming: IncomingRequest, request: ConnectClientV1
) -> list[Outbound]:
    """Record that a session opened (or is announced again): it is the client's only one from now
    on.
    """
    known = locked.get(request.client)
    if request.secret is not None:
        client = proved_client(incoming, request, known)
    else:
        client = same_session(known, request.session)
    present = Presence(node=request.node, session=request.session)
    after = connected(client, present, locked.now, answer_by=request.answer_by)
    locked.save(after)
    body = ClientConnectedV1(
        client=client.id,
        epoch=after.epoch,
        sequence=client.sequence,
        closed=closed_by_server(locked.channels_of(client.id)),
        lost=_report_losses(locked, request),
    )
    return [*answer(incoming.message, body), *_replaced(after)]


def confirm_sessions(
    locked: LockedClients,
    incoming: IncomingRequest,
    request: ConfirmSessionsV1,
    reachable: set[str],
) -> list[Outbound]:
    """Record where sessions are open that the store had elsewhere, or as closed."""
    changed: list[ConfirmedSession] = []
    for each in request.sessions:
        known = locked.get(each.client)
        present = Presence(node=request.node, session=each.session)
        try:
            after = continued(known, present, locked.now, answer_by=request.answer_by)
        except Refusal as refused:
            changed.append(ConfirmedSession(session=each.session, code=refused.code))
            continue
        if after is not known:
            locked.save(after)
            reachable.add(after.id)
        if after.epoch != each.epoch:
            changed.append(ConfirmedSession(session=each.session, epoch=after.epoch))
    return answer(incoming.message, SessionsConfirmedV1(changed=tuple(changed)))


def disconnect(
    locked: LockedClients, incoming: IncomingRequest, request: DisconnectClientV1
) -> list[Outbound]:
    """Record that a session ended, unless its client has a newer one."""
    client = locked.get(request.client)
    if client is not None and client.epoch == request.epoch and client.presence is not None:
        locked.save(replace(client, presence=None))
    return answer(incoming.message, ClientDisconnectedV1(client=request.client))


def _report_losses(locked: LockedClients, request: ConnectClientV1) -> int:
    """The number of lost notifications to report to the session; almost always 0."""
    rows = locked.losses.of(request.client)
    if not rows:
        return 0
    reported = rows[0].report_to(request.session, request.heard)
    if reported != rows[0]:
        locked.losses.save([reported])
    return reported.reported


def _replaced(client: Client) -> list[Outbound]:
    """The message that closes the session that the present one replaced."""
    old = client.replaced
    if old is None:
        return []
    close = CloseItem(
        client=client.id,
        session=old.session,
        epoch=client.epoch - 1,
        code=CloseCode.REPLACED,
        message="another connection of this client took over",
    )
    return batches(gateway_queue(old.node), [close], gateway=True)
