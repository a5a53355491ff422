"""Endings that follow from outcomes: of a presence, a notification channel, or a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from aoi_events.contracts.events import NOBODY, ApplicationChanged, ChannelChanged
from aoi_events.contracts.states import CloseReason, Reason
from aoi_events.domain.clients.applications import Application, revoke
from aoi_events.domain.clients.channels import Channel, ChannelState, ProofState
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.tokens import app_key_of
from aoi_events.domain.delivery.facts import CloseChannel, Decision, LosePresence, RevokeToken
from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Transaction
from aoi_events.services.messages.events import event

Ending = CloseChannel | RevokeToken | LosePresence


async def apply_endings(
    tx: Transaction, decisions: Sequence[Decision], clients: dict[str, Client], now: datetime
) -> list[Outbound]:
    """Write the endings among the effects, into ``clients`` too; returns their events.

    The events follow from the rows as they are then, so that a repeat returns the same events. The
    caller has locked the clients' rows exclusively.
    """
    ends: list[tuple[Delivery, Ending]] = [
        (decision.delivery, effect)
        for decision in decisions
        for effect in decision.effects
        if isinstance(effect, Ending)
    ]
    if not ends:
        return []
    closing = [(row, effect) for row, effect in ends if isinstance(effect, CloseChannel)]
    revoking = [row for row, effect in ends if isinstance(effect, RevokeToken)]
    losing = [(row, effect) for row, effect in ends if isinstance(effect, LosePresence)]
    await _lose(tx, losing, clients)
    return [*await _close(tx, closing, now), *await _revoke(tx, revoking, now)]


def channel_closed(row: Channel, asker: str, at: datetime) -> Outbound:
    """The event of a closed channel; its ID follows from the time."""
    data = ChannelChanged(client=row.client, channel=row.type, reason=row.reason, detail=row.detail)
    since = (row.changed_at or at).timestamp()
    return event("channel.closed", asker, data, at=at, key=f"{row.client}/{row.type}@{since:.6f}")


def application_event(row: Application, asker: str, at: datetime) -> Outbound:
    """The event of a token, registered or revoked; its ID follows from the token."""
    data = ApplicationChanged(
        client=row.client,
        application=row.application,
        instance=row.instance,
        fingerprint=row.fingerprint,
        reason=row.revoked_reason,
    )
    kind = "application.registered" if row.registered else "application.revoked"
    return event(kind, asker, data, at=at, key=f"{row.fingerprint}@{row.generation}")


async def _lose(
    tx: Transaction, ends: Sequence[tuple[Delivery, LosePresence]], clients: dict[str, Client]
) -> None:
    lost: dict[str, Client] = {}
    for delivery, effect in ends:
        client = clients.get(delivery.client)
        if client and client.presence and client.epoch == effect.epoch:
            clients[client.id] = lost[client.id] = replace(client, presence=None)
    await tx.save_clients(list(lost.values()))


async def _close(
    tx: Transaction, ends: Sequence[tuple[Delivery, CloseChannel]], now: datetime
) -> list[Outbound]:
    if not ends:
        return []
    found = await tx.channels({delivery.client for delivery, _ in ends})
    rows = {(row.client, row.type): row for of_client in found.values() for row in of_client}
    changed: dict[tuple[str, str], Channel] = {}
    closed: dict[tuple[str, str], Channel] = {}
    for delivery, effect in ends:
        key = (delivery.client, effect.channel)
        row = rows.get(key)
        if row is None:
            continue
        if row.state is not ChannelState.CLOSED and not _activated_since(delivery, effect, row):
            row = row.closed(CloseReason.ADDRESS_REFUSED, now, effect.detail)
            rows[key] = changed[key] = row
        if row.state is ChannelState.CLOSED:
            closed[key] = row
    await tx.save_channels(list(changed.values()))
    await _fail_proofs(tx, list(changed.values()))
    return [channel_closed(row, NOBODY, now) for row in closed.values()]


def _activated_since(delivery: Delivery, effect: CloseChannel, row: Channel) -> bool:
    """Whether the channel was activated again after the delivery used it.

    The delivery may have used the new one meanwhile, too, when an old outcome arrives again.
    """
    if row.changed_at is None:
        return False
    started = [
        state.started_at
        for state in delivery.steps
        if state.step.channel == row.type and state.started_at is not None
    ]
    return row.changed_at > effect.at or (bool(started) and row.changed_at > max(started))


async def _fail_proofs(tx: Transaction, closed: Sequence[Channel]) -> None:
    """Fail the proofs of addresses that the provider refused."""
    addresses = {(c.client, c.type, c.address) for c in closed if c.address is not None}
    if not addresses:
        return
    proofs = await tx.proofs({client for client, _, _ in addresses})
    await tx.save_proofs(
        [
            proof.failed()
            for rows in proofs.values()
            for proof in rows
            if (proof.client, proof.channel, proof.address) in addresses
            and proof.state is not ProofState.FAILED
        ]
    )


async def _revoke(tx: Transaction, deliveries: Sequence[Delivery], now: datetime) -> list[Outbound]:
    if not deliveries:
        return []
    keys = {_key(delivery): delivery.fingerprint for delivery in deliveries}
    rows = await tx.applications(keys)
    revoked = [
        revoke(row, Reason.NO_SUCH_APPLICATION)
        for key, row in rows.items()
        if row.fingerprint == keys[key]
    ]
    await tx.save_applications(revoked)
    return [
        application_event(row, NOBODY, now)
        for row in revoked
        if row.revoked_reason == Reason.NO_SUCH_APPLICATION
    ]


def _key(delivery: Delivery) -> tuple[str, str]:
    return delivery.client, app_key_of(delivery.application, delivery.instance)
