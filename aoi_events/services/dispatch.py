"""From the effects of deliveries to what must be published, with everything that it takes to know.

Loads in batches what a set of deliveries needs (clients, channels, app instances, contents), makes
plans from it, and turns effects into envelopes for channel workers and gateway nodes, outcomes, and
events. It is shared by the workers that move deliveries: notification, outcome and deadlines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aoi_events.broker.topology import delivery_queue, gateway_queue
from aoi_events.contracts.envelopes import DeliverItem, OutcomeItem, OutcomeKind
from aoi_events.contracts.events import ApplicationChanged, ChannelChanged
from aoi_events.contracts.states import Reason
from aoi_events.domain.applications import Application, revoke
from aoi_events.domain.channels import Channel, ChannelState, ProofState
from aoi_events.domain.clients import Client
from aoi_events.domain.delivery import (
    Announce,
    CloseChannel,
    Decision,
    Delivery,
    Effect,
    LosePresence,
    RevokeToken,
    StartStep,
)
from aoi_events.domain.notifications import Notification
from aoi_events.domain.plans import Step, plan
from aoi_events.domain.tokens import app_key_of
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Lock, Transaction
from aoi_events.services.outgoing import batches, delivery_event, event, outcomes
from aoi_events.services.settings import ServiceSettings

__all__ = ["Context", "Dispatcher", "close_what_ended", "lock_for"]


@dataclass(slots=True)
class Context:
    """What is known about a set of deliveries, as read in one transaction."""

    clients: Mapping[str, Client]
    channels: Mapping[str, Sequence[Channel]]
    applications: Mapping[tuple[str, str], Application]
    notifications: Mapping[tuple[str, str], Notification]

    def application_of(self, delivery: Delivery) -> Application | None:
        """The app instance that the delivery is for."""
        key = app_key_of(delivery.application, delivery.instance)
        return self.applications.get((delivery.client, key))


class Dispatcher:
    """Carries out effects."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    async def load(
        self, tx: Transaction, deliveries: Collection[Delivery], clients: Mapping[str, Client]
    ) -> Context:
        """What :meth:`steps` and :meth:`outputs` need to know of these deliveries."""
        ids = {delivery.client for delivery in deliveries}
        return Context(
            clients=clients if ids <= clients.keys() else await tx.clients(ids),
            channels=await tx.channels(ids),
            applications=await tx.applications(
                {(d.client, app_key_of(d.application, d.instance)) for d in deliveries}
            ),
            notifications=await tx.notifications({(d.sender, d.notification) for d in deliveries}),
        )

    def steps(
        self, client: Client | None, channels: Sequence[Channel], content_octets: int
    ) -> tuple[Step, ...]:
        """The plan for a client now; empty when nothing can reach it."""
        if client is None or client.retired:
            return ()
        return plan(
            channels,
            self._settings.traits,
            connected=client.presence is not None,
            content_octets=content_octets,
        )

    def outputs(
        self, decisions: Iterable[Decision], context: Context, now: datetime
    ) -> list[Outbound]:
        """What must be published so that the effects happen (and once more, harmlessly, later)."""
        queues: dict[tuple[str, bool], list[DeliverItem]] = defaultdict(list)
        lost: list[OutcomeItem] = []
        events: list[Outbound] = []
        for decision in decisions:
            for effect in decision.effects:
                match effect:
                    case StartStep():
                        self._start(decision.delivery, effect, context, now, queues, lost)
                    case Announce():
                        events.append(delivery_event(decision.delivery, now))
                    case CloseChannel() | RevokeToken() | LosePresence():
                        events.extend(_closing_events(decision.delivery, effect, context, now))
        out = [
            message
            for (queue, gateway), items in queues.items()
            for message in batches(queue, items, gateway=gateway)
        ]
        return [*out, *outcomes(lost), *events]

    def _start(
        self,
        delivery: Delivery,
        effect: StartStep,
        context: Context,
        now: datetime,
        queues: dict[tuple[str, bool], list[DeliverItem]],
        lost: list[OutcomeItem],
    ) -> None:
        state = delivery.steps[effect.step]
        client = context.clients.get(delivery.client)
        application = context.application_of(delivery)
        notification = context.notifications.get((delivery.sender, delivery.notification))
        channel = next(
            (
                channel
                for channel in context.channels.get(delivery.client, ())
                if channel.type == state.step.channel and channel.usable
            ),
            None,
        )
        presence = client.presence if client is not None else None
        if (
            client is None
            or application is None
            or notification is None
            or notification.content is None
            or channel is None
            or (state.step.connected and presence is None)
        ):
            # What the plan was made from has changed since: the step cannot be made any more.
            lost.append(_route_lost(delivery, effect, state.step.channel, now))
            return
        item = DeliverItem(
            delivery=delivery.id,
            notification=delivery.notification,
            client=delivery.client,
            channel=channel.type,
            step=effect.step,
            attempt=effect.attempt,
            token=self._settings.token_keys.issue(application.claims, application.key_id),
            fingerprint=delivery.fingerprint,
            application=delivery.application,
            instance=delivery.instance,
            content=notification.content,
            urgency=notification.urgency,
            accepted_at=delivery.accepted_at,
            expires_at=delivery.expires_at,
            wake_up=state.step.wake_up,
            parameters=channel.parameters,
            session=presence.session if state.step.connected and presence else None,
            epoch=client.epoch if state.step.connected else None,
        )
        if state.step.connected and presence is not None:
            queues[gateway_queue(presence.node), True].append(item)
        else:
            queues[delivery_queue(channel.type), False].append(item)


async def close_what_ended(
    tx: Transaction, decisions: Sequence[Decision], clients: dict[str, Client], now: datetime
) -> None:
    """Write what the effects say ended: presences, channels and tokens.

    The caller holds the clients' rows exclusively.
    """
    ends: list[tuple[Delivery, Effect]] = [
        (decision.delivery, effect)
        for decision in decisions
        for effect in decision.effects
        if isinstance(effect, CloseChannel | RevokeToken | LosePresence)
    ]
    if not ends:
        return
    ids = {delivery.client for delivery, _ in ends}
    channels = {
        (channel.client, channel.type): channel
        for rows in (await tx.channels(ids)).values()
        for channel in rows
    }
    applications = {(row.client, row.app_key): row for row in await tx.applications_of(ids)}
    changed_channels: dict[tuple[str, str], Channel] = {}
    changed_applications: dict[tuple[str, str], Application] = {}
    changed_clients: dict[str, Client] = {}
    for delivery, effect in ends:
        if isinstance(effect, LosePresence):
            client = clients.get(delivery.client)
            if client and client.presence and client.epoch == effect.epoch:
                clients[client.id] = changed_clients[client.id] = replace(client, presence=None)
        elif isinstance(effect, CloseChannel):
            channel = channels.get((delivery.client, effect.channel))
            if channel and channel.usable:
                changed_channels[channel.client, channel.type] = replace(
                    channel, state=ChannelState.CLOSED, reason=effect.reason, changed_at=now
                )
        elif isinstance(effect, RevokeToken):
            key = (delivery.client, app_key_of(delivery.application, delivery.instance))
            row = applications.get(key)
            if row and row.registered and row.fingerprint == delivery.fingerprint:
                changed_applications[key] = revoke(row, Reason.NO_SUCH_APPLICATION)
    await tx.save_clients(list(changed_clients.values()))
    await tx.save_channels(list(changed_channels.values()))
    await tx.save_applications(list(changed_applications.values()))
    await _fail_proofs(tx, list(changed_channels.values()))


async def _fail_proofs(tx: Transaction, closed: Sequence[Channel]) -> None:
    """An address that the provider calls bad is not proved any more."""
    addresses = {(c.client, c.type, c.address) for c in closed if c.address is not None}
    if not addresses:
        return
    proofs = await tx.proofs({client for client, _, _ in addresses})
    await tx.save_proofs(
        [
            replace(proof, state=ProofState.FAILED, deadline=None)
            for rows in proofs.values()
            for proof in rows
            if (proof.client, proof.channel, proof.address) in addresses
            and proof.state is not ProofState.FAILED
        ]
    )


def _route_lost(delivery: Delivery, effect: StartStep, channel: str, now: datetime) -> OutcomeItem:
    return OutcomeItem(
        delivery=delivery.id,
        kind=OutcomeKind.ROUTE_LOST,
        at=now,
        client=delivery.client,
        channel=channel,
        step=effect.step,
        attempt=effect.attempt,
        detail="the channel was closed meanwhile",
    )


def _closing_events(
    delivery: Delivery,
    effect: CloseChannel | RevokeToken | LosePresence,
    context: Context,
    now: datetime,
) -> list[Outbound]:
    match effect:
        case CloseChannel(kind, reason):
            data = ChannelChanged(client=delivery.client, channel=kind, reason=reason)
            key = f"{delivery.client}/{kind}@{delivery.id}"
            return [event("channel.closed", "aoi", data, at=now, key=key)]
        case RevokeToken():
            gone = ApplicationChanged(
                client=delivery.client,
                application=delivery.application,
                instance=delivery.instance,
                fingerprint=delivery.fingerprint,
                reason="no_such_application",
            )
            return [
                event(
                    "application.revoked",
                    delivery.sender,
                    gone,
                    at=now,
                    key=f"{delivery.fingerprint}@{delivery.id}",
                )
            ]
        case LosePresence():
            return []


def lock_for(items: Iterable[OutcomeItem]) -> Lock:
    """Exclusive when outcomes may end a presence, a channel or a token, so that clients change."""
    ends = any(
        item.closes_channel
        or item.kind in (OutcomeKind.NO_SUCH_APPLICATION, OutcomeKind.ROUTE_LOST)
        for item in items
    )
    return Lock.EXCLUSIVE if ends else Lock.SHARED
