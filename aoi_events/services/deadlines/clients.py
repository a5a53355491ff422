"""Unused registrations: they expire, with an event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from datetime import timedelta
from typing import Final

from aoi_events.contracts.events import NOBODY, ClientChanged
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients.client import Client, expired
from aoi_events.ports.broker import Broker, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Lock, Store
from aoi_events.services.clients.retirement import Endings, retire
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.messages.events import event
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.settings import Policies

_EVENTS_EACH: Final = 50
"""Events per client of a full batch: an end has one for the client, and one for each token."""


@dataclass(frozen=True, slots=True)
class UnusedClients:
    """Ends registrations that were never used, or not for very long: at once ``batch`` of them, or
    fewer that have many app instances.

    No message would be redelivered if this worker died. So each end is committed as *unpublished*,
    and marked as published after the broker's confirm; an end that is unpublished for ``hold`` is
    published again.
    """

    store: Store
    broker: Broker
    policies: Policies
    clock: Clock
    _: KW_ONLY
    batch: int

    async def process_due(self) -> int:
        """Process one batch of expired or unpublished clients; returns how many there were."""
        now = self.clock.now()
        unused_before = now - timedelta(seconds=self.policies.keep_unused)
        silent_before = now - timedelta(seconds=self.policies.keep_silent)
        unpublished_before = now - timedelta(seconds=self.policies.hold)
        endings = Endings()
        outputs: list[Outbound] = []
        async with self.store.transaction() as tx:
            ids = {
                *await tx.expired_clients(
                    unused_before=unused_before, silent_before=silent_before, limit=self.batch
                ),
                *await tx.clients_with_unpublished_end(unpublished_before, self.batch),
            }
            if not ids:
                return 0
            # Locked in key order, and looked at again: who came in between is used.
            ended: list[Client] = []
            for client in (await tx.clients(ids, Lock.EXCLUSIVE)).values():
                if len(outputs) >= self.batch * _EVENTS_EACH:
                    break
                over = expired(client, unused_before=unused_before, silent_before=silent_before)
                if not (over or client.unpublished_since):
                    continue
                outputs += await retire(tx, client, Reason.UNUSED, NOBODY, now, endings)
                at = client.retired_at or now
                ended.append(
                    replace(
                        client, retired_at=at, retired_reason=Reason.UNUSED, unpublished_since=now
                    )
                )
                gone = ClientChanged(client=client.id)
                outputs.append(event("client.expired", NOBODY, gone, at=at, key=f"{client.id}@"))
            await tx.save_clients(ended)
            if await endings.make_due(tx, now):
                outputs.append(hint())
        await publish_all(self.broker, outputs)
        await self._mark_published(client.id for client in ended)
        return len(ids)

    async def _mark_published(self, ids: Iterable[str]) -> None:
        async with self.store.transaction() as tx:
            clients = await tx.clients(set(ids), Lock.EXCLUSIVE)
            await tx.save_clients([replace(c, unpublished_since=None) for c in clients.values()])
