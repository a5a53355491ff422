"""What outcomes end besides a delivery, and what they leave alone: another epoch, another address,
a channel or a token that took the place of the one that was meant.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aoi_events.contracts.events import CloudEvent
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients.channels import Channel, ChannelState, ProofState
from aoi_events.domain.clients.client import Client, Presence
from aoi_events.domain.delivery.facts import (
    CloseChannel,
    Decision,
    Effect,
    LosePresence,
    RevokeToken,
)
from aoi_events.domain.delivery.state import StepState
from aoi_events.domain.planning.plans import Step
from aoi_events.ports.store import Store
from aoi_events.services.clients.endings import apply_endings
from aoi_events.services.clients.retirement import Endings, retire
from aoi_events.store.store import open_store
from aoi_events.topology import EVENTS
from tests.support.rows import (
    a_channel,
    a_client,
    a_delivery,
    a_proof,
    an_application,
    client_id,
    later,
)

HERE = client_id(1)
ADDRESS = "+491"


@pytest.fixture
async def store(aoi_empty_database: Path, tmp_path: Path) -> AsyncIterator[Store]:
    """A client with a present session of epoch 2, and a channel whose address it proved."""
    file = tmp_path / "aoi.sqlite3"
    shutil.copy(aoi_empty_database, file)
    opened = await open_store(f"sqlite:///{file}")
    async with opened.transaction() as tx:
        await tx.save_clients([a_client(1, epoch=2, presence=Presence("gw-1", "s2"))])
        await tx.save_channels([a_channel(1, address=ADDRESS, changed_at=later(10))])
        await tx.save_proofs([a_proof(1, ADDRESS, state=ProofState.PROVED)])
        await tx.save_applications([an_application(1)])
    yield opened
    await opened.close()


def step(channel: str, started: float) -> StepState:
    """A step whose attempt began so many seconds after NOW."""
    at = later(started)
    return StepState(Step(channel, 0.0, 10.0), attempt=1, first_started_at=at, started_at=at)


async def end(
    store: Store, effect: Effect, *steps: StepState
) -> tuple[dict[str, Client], Sequence[tuple[str, str]]]:
    """Carry an effect out at 60 s: the clients as they are then, and the events' kinds and IDs."""
    decision = Decision(a_delivery(1, steps=steps), (effect,), changed=True)
    async with store.transaction() as tx:
        clients = dict(await tx.clients([HERE]))
        outputs = await apply_endings(tx, [decision], clients, later(60))
    events = [CloudEvent.decode(output.body) for output in outputs]
    return clients, [(event.kind, event.id) for event in events]


async def channel(store: Store) -> Channel:
    """The client's channel as it is now."""
    async with store.transaction(read_only=True) as tx:
        ((row,),) = (await tx.channels([HERE])).values()
    return row


@pytest.mark.parametrize("epoch,lost", [(1, False), (2, True), (3, False)])
async def test_a_lost_route_ends_its_own_epoch(store: Store, epoch: int, *, lost: bool) -> None:
    """An older or a later epoch leaves the present session; the next plan knows what ended."""
    clients, _ = await end(store, LosePresence(epoch))
    assert (clients[HERE].presence is None) == lost
    async with store.transaction(read_only=True) as tx:
        assert await tx.clients([HERE]) == clients


@pytest.mark.parametrize(
    "started,refused,closed",
    [(9, 9, False), (9, 20, False), (20, 9, False), (10, 10, True), (20, 30, True)],
)
async def test_a_refusal_closes_the_channel_that_it_was_about(
    store: Store, started: float, refused: float, *, closed: bool
) -> None:
    """A channel that was activated (at 10 s) since the attempt began, or since it was refused, is
    another one than the provider means.
    """
    effect = CloseChannel("sms", "no such address", later(refused))
    _, events = await end(store, effect, step("sms", started))
    assert (await channel(store)).state == ("closed" if closed else "active")
    assert [kind for kind, _ in events] == (["channel.closed"] if closed else [])


async def test_steps_of_other_channels_say_nothing_of_it(store: Store) -> None:
    """Only attempts over the channel itself tell whether it was activated since."""
    effect = CloseChannel("sms", "no such address", later(30))
    await end(store, effect, step("sms", 9), step("websocket", 20))
    assert (await channel(store)).state is ChannelState.ACTIVE


async def test_a_repeated_refusal_tells_the_same(store: Store) -> None:
    """The event follows from the row, so a repeat has the same ID, and changes nothing."""
    effect = CloseChannel("sms", "no such address", later(30))
    _, first = await end(store, effect, step("sms", 20))
    row = await channel(store)
    assert await end(store, effect, step("sms", 20)) == ({HERE: (await _client(store))}, first)
    assert len(first) == 1
    assert await channel(store) == row


async def test_only_the_proof_of_the_refused_address_ends(store: Store) -> None:
    """Another address, the same one on another channel, and the same one of another client stay."""
    others = [
        a_proof(1, "+492", state=ProofState.PROVED),
        replace(a_proof(1, ADDRESS, state=ProofState.PROVED), channel="voice"),
        a_proof(2, ADDRESS),
    ]
    async with store.transaction() as tx:
        await tx.save_clients([a_client(2)])
        await tx.save_proofs(others)
    await end(store, CloseChannel("sms", "no such address", later(30)), step("sms", 20))
    async with store.transaction(read_only=True) as tx:
        found = await tx.proofs([HERE, client_id(2)])
    proofs = [proof for rows in found.values() for proof in rows]
    failed = [proof for proof in proofs if proof.state is ProofState.FAILED]
    assert [(p.client, p.channel, p.address) for p in failed] == [(HERE, "sms", ADDRESS)]
    assert len(proofs) == 4


@pytest.mark.parametrize(
    "changes,told",
    [
        ({}, True),
        ({"fingerprint": "fp_bbbbbbbbbbbbb"}, False),
        ({"registered": False, "revoked_reason": "deregistered"}, False),
        ({"registered": False, "revoked_reason": str(Reason.NO_SUCH_APPLICATION)}, True),
    ],
    ids=["present", "another token", "ended otherwise", "repeated"],
)
async def test_no_such_application_ends_the_token_that_was_meant(
    store: Store, changes: dict[str, Any], *, told: bool
) -> None:
    """A token that the app got since stays, and one that ended in another way has no
    second event.
    """
    known = an_application(1, **changes)
    async with store.transaction() as tx:
        await tx.save_applications([known])
    _, events = await end(store, RevokeToken())
    assert [kind for kind, _ in events] == (["application.revoked"] if told else [])
    async with store.transaction(read_only=True) as tx:
        (row,) = (await tx.applications([(HERE, known.app_key)])).values()
    revoked = replace(known, registered=False, revoked_reason=Reason.NO_SUCH_APPLICATION)
    assert row == (revoked if told else known)


async def test_a_retired_client_tells_of_the_tokens_that_it_ended(store: Store) -> None:
    """A token that had ended otherwise, and an app that never had one, get no event."""
    before = an_application(1, "com.example.left", registered=False, revoked_reason="deregistered")
    reason = str(Reason.REASSIGNED)
    never = an_application(
        1, "com.example.never", generation=0, registered=False, revoked_reason=reason
    )
    async with store.transaction() as tx:
        await tx.save_applications([before, never])
        (client,) = (await tx.clients([HERE])).values()
        outputs = await retire(tx, client, Reason.REASSIGNED, "a", later(60), Endings())
    events = [each for each in outputs if each.exchange == EVENTS]
    told = [CloudEvent.decode(each.body).data for each in events]
    assert [getattr(each, "application", None) for each in told] == ["com.example.news"]


async def test_only_what_ended_becomes_due_and_never_later(store: Store) -> None:
    """Deliveries for another token of the client wait as before, and what was overdue stays so."""
    ended, overdue = a_delivery(1, deadline=later(3600)), a_delivery(2, deadline=later(5))
    other = a_delivery(3, deadline=later(3600), fingerprint="fp_bbbbbbbbbbbbb")
    async with store.transaction() as tx:
        await tx.add_deliveries([ended, overdue, other])
        endings = Endings(tokens={(HERE, ended.fingerprint)})
        assert await endings.make_due(tx, later(60))
        rows = await tx.deliveries([ended.id, overdue.id, other.id])
    deadlines = [rows[each.id].deadline for each in (ended, overdue, other)]
    assert deadlines == [later(60), later(5), later(3600)]


async def _client(store: Store) -> Client:
    async with store.transaction(read_only=True) as tx:
        return (await tx.clients([HERE]))[HERE]
