"""Accepting notifications: which tokens are valid, their deliveries, and first plans (8.2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice, repeat
from typing import Final

from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.domain.clients.applications import token_owner
from aoi_events.domain.clients.sender_keys import may_send
from aoi_events.domain.clients.tokens import TokenClaims, delivery_id_of, fingerprint_of
from aoi_events.domain.delivery.facts import Decision, Planned
from aoi_events.domain.delivery.machine import decide
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.notifications import Notification, RejectedEntry
from aoi_events.domain.planning.plans import Step, demand_of
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.clock import Dice
from aoi_events.ports.metrics import Change
from aoi_events.ports.store import Lock, Transaction
from aoi_events.services.delivery.backlog import limit_backlog
from aoi_events.services.delivery.dispatch import DispatchContext, Dispatcher
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.notification.topics import older_of_topics, replaced
from aoi_events.services.runtime.settings import ServiceSettings

_REVOKED: Final = Refusal(
    ErrorCode.TOKEN_REVOKED, "this token is no longer valid; forget it until the app sends another"
)

_FOREIGN: Final = Refusal(
    ErrorCode.NOT_ALLOWED, "this token takes notifications of the sender only that it is bound to"
)


@dataclass(slots=True)
class Sending:
    """The progress of one ``notification.send`` in a batch.

    Ends with either ``refused`` or ``notification``; ``repeated``: it was accepted before. A
    notification without deliveries is stored nowhere: it only holds the rejected tokens.
    """

    incoming: IncomingRequest
    request: SendNotificationV1
    hash: str
    tokens: list[tuple[int, str, TokenClaims]] = field(default_factory=list)
    rejected: list[RejectedEntry] = field(default_factory=list)
    notification: Notification | None = None
    decisions: list[Decision] = field(default_factory=list)
    refused: Refusal | None = None
    repeated: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Sender and notification ID: IDs are scoped by sender."""
        return (self.incoming.sender, self.request.notification)

    @property
    def ended(self) -> bool:
        """Whether the request can be answered."""
        return self.refused is not None or self.notification is not None

    def reset(self) -> None:
        """Forget the judgement: another worker accepted this ID first."""
        self.tokens, self.rejected, self.decisions = [], [], []
        self.notification = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Accepts all tokens of all notifications of a batch at once."""

    settings: ServiceSettings
    dice: Dice

    async def accept(
        self, tx: Transaction, fresh: Sequence[Sending], now: datetime
    ) -> tuple[DispatchContext, Sequence[Change]]:
        """Write the notifications of which a token was accepted, and their deliveries;
        ``notification`` stays None for an ID that another worker accepted first. Also returns how
        deliveries change.
        """
        for sending in fresh:
            self._verify(sending)
        claims = {claim for sending in fresh for _, _, claim in sending.tokens}
        ids = {claim.client for claim in claims}
        context = DispatchContext(
            clients=await tx.clients(ids, _lock_for(fresh)),
            channels=await tx.channels(ids),
            applications=await tx.applications({(c.client, c.app_key) for c in claims}),
        )
        for sending in fresh:
            self._route(sending, context, now)
        accepted = {
            each.key: each.notification
            for each in fresh
            if each.notification is not None and each.notification.deliveries
        }
        inserted = await tx.add_notifications(list(accepted.values()))
        context.notifications = {key: accepted[key] for key in inserted}
        for sending in fresh:
            if sending.key in accepted and sending.key not in inserted:
                sending.reset()
        every = [decision for sending in fresh for decision in sending.decisions]
        older = await older_of_topics(tx, every)
        ended, every = replaced(older, every, now)
        every = await limit_backlog(
            tx,
            [*ended, *every],
            before={row.id: row for row in older},
            backlog=self.settings.policies.backlog,
            now=now,
        )
        await tx.save_deliveries([decision.delivery for decision in every[: len(ended)]])
        await tx.add_deliveries([decision.delivery for decision in every[len(ended) :]])
        added = iter(every[len(ended) :])
        for sending in fresh:
            sending.decisions = list(islice(added, len(sending.decisions)))
        before = chain(older, repeat(None))
        return context, [
            (row, decision.delivery) for row, decision in zip(before, every, strict=False)
        ]

    def _verify(self, sending: Sending) -> None:
        for index, token in enumerate(sending.request.tokens):
            try:
                sending.tokens.append((index, token, self.settings.token_keys.verify(token)))
            except Refusal as refused:
                sending.rejected.append(_rejected(index, token, refused))

    def _route(self, sending: Sending, context: DispatchContext, now: datetime) -> None:
        request = sending.request
        expires_at = now + timedelta(seconds=request.ttl)
        demand, dispatcher = demand_of(request), Dispatcher(self.settings)
        accepted: dict[str, Decision] = {}
        deliveries: list[tuple[int, str]] = []
        for index, token, claims in sending.tokens:
            client = context.clients.get(claims.client)
            application = token_owner(
                client,
                context.applications.get((claims.client, claims.app_key)),
                generation=claims.generation,
            )
            if client is None or application is None:
                sending.rejected.append(_rejected(index, token, _REVOKED))
                continue
            if not may_send(sending.incoming.sender, application.sender_key):
                sending.rejected.append(_rejected(index, token, _FOREIGN))
                continue
            delivery_id = delivery_id_of(sending.incoming.sender, request.notification, token)
            deliveries.append((index, delivery_id))
            if delivery_id in accepted:  # the same token twice in one request is one delivery
                continue
            channels = context.channels.get(claims.client, ())
            steps = dispatcher.steps(client, channels, application.application, demand)
            delivery = Delivery(
                id=delivery_id,
                sender=sending.incoming.sender,
                notification=request.notification,
                client=claims.client,
                application=application.application,
                instance=application.instance,
                fingerprint=fingerprint_of(token),
                accepted_at=now,
                expires_at=expires_at if request.ttl > 0 else _now_or_never(steps, now),
                storable=request.ttl > 0,
                topic=request.topic,
            )
            accepted[delivery_id] = decide(
                delivery,
                Planned(steps, returns=client.returns),
                now=now,
                jitter=self.dice.jitter(),
                backoff=self.settings.policies.retry,
            )
        sending.decisions = list(accepted.values())
        sending.rejected.sort(key=lambda entry: entry.index)
        sending.notification = Notification(
            sender=sending.incoming.sender,
            id=request.notification,
            body_hash=sending.hash,
            accepted_at=now,
            expires_at=max((d.delivery.expires_at for d in sending.decisions), default=expires_at),
            content=request.content,
            urgency=request.urgency,
            ttl=request.ttl,
            deliveries=tuple(deliveries),
            rejected=tuple(sending.rejected),
            mode=request.mode,
            hedge_after=request.hedge_after,
        )


def _lock_for(fresh: Sequence[Sending]) -> Lock:
    """The lock on clients: exclusive if a request has a topic, so that two workers with one topic
    see each other.
    """
    topics = any(sending.request.topic is not None for sending in fresh)
    return Lock.EXCLUSIVE if topics else Lock.SHARED


def _rejected(index: int, token: str, refused: Refusal) -> RejectedEntry:
    return RejectedEntry(index, fingerprint_of(token), refused.code, refused.message)


def _now_or_never(steps: Sequence[Step], now: datetime) -> datetime:
    """The expiry of ``ttl=0``: the end of the first step's window, so that it is tried once."""
    return now + timedelta(seconds=steps[0].ack_within if steps else 0)
