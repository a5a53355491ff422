"""From the effects of deliveries to the messages to publish, and the rows needed for that.

Loads in batches what a set of deliveries needs (clients, channels, app instances, contents), makes
plans from it, and turns effects into envelopes for channel workers and gateway nodes, outcomes, and
events. It is shared by the workers that move deliveries: notification, outcome and deadlines.
"""

from __future__ import annotations

import hashlib
import logging
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from aoi_events.contracts.envelopes import DeliverItem, OutcomeItem, OutcomeKind
from aoi_events.domain.clients.applications import Application, token_owner
from aoi_events.domain.clients.channels import Channel
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.tokens import app_key_of
from aoi_events.domain.delivery.facts import (
    Announce,
    CloseChannel,
    Decision,
    LosePresence,
    RevokeToken,
    StartStep,
)
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.notifications import Notification
from aoi_events.domain.planning.plans import Demand, Step, plan
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Transaction
from aoi_events.services.messages.envelopes import batches, outcomes
from aoi_events.services.messages.events import delivery_event
from aoi_events.services.runtime.settings import ServiceSettings
from aoi_events.topology import delivery_queue, gateway_queue

log = get_logger(__name__)


@dataclass(slots=True)
class DispatchContext:
    """The rows that belong to a set of deliveries, as read in one transaction."""

    clients: Mapping[str, Client] = field(default_factory=dict)
    channels: Mapping[str, Sequence[Channel]] = field(default_factory=dict)
    applications: Mapping[tuple[str, str], Application] = field(default_factory=dict)
    notifications: Mapping[tuple[str, str], Notification] = field(default_factory=dict)

    def application_of(self, delivery: Delivery) -> Application | None:
        """The app instance of the delivery; its token may be another one by now, see
        :meth:`holds_token`.
        """
        key = app_key_of(delivery.application, delivery.instance)
        return self.applications.get((delivery.client, key))

    def holds_token(self, delivery: Delivery) -> Application | None:
        """The app instance, if the token that the delivery was sent to is still valid."""
        return token_owner(
            self.clients.get(delivery.client),
            self.application_of(delivery),
            fingerprint=delivery.fingerprint,
        )

    def merged_with(self, other: DispatchContext) -> DispatchContext:
        """Both contexts together; ``other`` wins where both have a row."""
        return DispatchContext(
            {**self.clients, **other.clients},
            {**self.channels, **other.channels},
            {**self.applications, **other.applications},
            {**self.notifications, **other.notifications},
        )


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Turns effects into messages."""

    settings: ServiceSettings

    async def load(
        self, tx: Transaction, deliveries: Collection[Delivery], clients: Mapping[str, Client]
    ) -> DispatchContext:
        """Read the rows that :meth:`steps` and :meth:`outputs` need for these deliveries."""
        ids = {delivery.client for delivery in deliveries}
        return DispatchContext(
            clients=clients if ids <= clients.keys() else await tx.clients(ids),
            channels=await tx.channels(ids),
            applications=await tx.applications(
                {(d.client, app_key_of(d.application, d.instance)) for d in deliveries}
            ),
            notifications=await tx.notifications({(d.sender, d.notification) for d in deliveries}),
        )

    def steps(
        self,
        client: Client,
        channels: Sequence[Channel],
        application: str,
        demand: Demand,
    ) -> tuple[Step, ...]:
        """The plan for an app of a client now; empty when no channel is usable."""
        return plan(
            channels,
            self.settings.traits,
            demand,
            connected=client.presence is not None,
            rules=self.settings.rules(application),
        )

    def outputs(
        self, decisions: Iterable[Decision], context: DispatchContext, now: datetime
    ) -> list[Outbound]:
        """The messages that carry the effects out; publishing them twice does no harm."""
        rows: dict[str, Delivery] = {}
        queues: dict[tuple[str, bool], list[DeliverItem]] = defaultdict(list)
        lost: list[OutcomeItem] = []
        events: list[Outbound] = []
        announced: list[Delivery] = []
        for decision in decisions:
            rows[decision.delivery.id] = decision.delivery
            for effect in decision.effects:
                match effect:
                    case StartStep():
                        made = self._start(decision.delivery, effect, context)
                        if made is None:
                            lost.append(_route_lost(decision.delivery, effect, now))
                        else:
                            queue, item = made
                            queues[queue, item.session is not None].append(item)
                    case Announce():
                        events.append(delivery_event(decision.delivery, now))
                        announced.append(decision.delivery)
                    case CloseChannel() | RevokeToken() | LosePresence():
                        pass  # written and published where the outcome was merged
                    case _:
                        assert_never(effect)
        if announced and log.isEnabledFor(logging.DEBUG):
            _log_each(announced)
        out = [
            message
            for (queue, gateway), items in queues.items()
            for message in batches(queue, items, rows, gateway=gateway)
        ]
        return [*out, *outcomes(lost), *events]

    def _start(
        self, delivery: Delivery, effect: StartStep, context: DispatchContext
    ) -> tuple[str, DeliverItem] | None:
        """The step as an item for its channel worker or gateway node, and their queue.

        None when the rows behind the plan have changed since: the step cannot be made any more.
        """
        step = delivery.steps[effect.step].step
        client = context.clients.get(delivery.client)
        application = context.holds_token(delivery)
        notification = context.notifications.get((delivery.sender, delivery.notification))
        channel = next(
            (
                channel
                for channel in context.channels.get(delivery.client, ())
                if channel.type == step.channel and channel.usable
            ),
            None,
        )
        if client is None or application is None or channel is None:
            return None
        if notification is None or notification.content is None:
            return None
        if step.connected and client.presence is None:
            return None
        presence = client.presence if step.connected else None
        item = DeliverItem(
            delivery=delivery.id,
            notification=delivery.notification,
            client=delivery.client,
            channel=channel.type,
            step=effect.step,
            attempt=effect.attempt,
            token=self.settings.token_keys.issue(application.claims, application.key_id),
            fingerprint=delivery.fingerprint,
            application=delivery.application,
            instance=delivery.instance,
            content=notification.content,
            urgency=notification.urgency,
            accepted_at=delivery.accepted_at,
            expires_at=delivery.expires_at,
            wake_up=step.wake_up,
            topic=None if delivery.topic is None else _topic(delivery),
            parameters=channel.parameters,
            session=presence.session if presence else None,
            epoch=client.epoch if presence else None,
        )
        return gateway_queue(presence.node) if presence else delivery_queue(channel.type), item


def _log_each(deliveries: Iterable[Delivery]) -> None:
    for row in deliveries:
        log.debug(
            "delivery",
            delivery=row.id,
            notification=row.notification,
            sender=row.sender,
            client=row.client,
            state=row.state,
            by=row.by,
            channel=row.channel,
            reason=row.reason,
        )


def _topic(delivery: Delivery) -> str:
    """A topic that is unique over all senders, for push services and the like."""
    named = f"{delivery.sender}\0{delivery.fingerprint}\0{delivery.topic}"
    return urlsafe_b64encode(hashlib.sha256(named.encode()).digest()[:24]).decode()


def _route_lost(delivery: Delivery, effect: StartStep, now: datetime) -> OutcomeItem:
    return OutcomeItem(
        delivery=delivery.id,
        kind=OutcomeKind.ROUTE_LOST,
        at=now,
        client=delivery.client,
        channel=delivery.steps[effect.step].step.channel,
        step=effect.step,
        attempt=effect.attempt,
        detail="the channel was closed meanwhile",
    )
