"""Connectionless channels: what their workers submit, and what providers say of it (8.2.4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.errors import ConfigurationError, ProviderUnavailable
from aoi_events.ports.channel import Receipt, SubmitResult
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import User
from tests.support.system import WORKERS, System

pytestmark = BOTH


async def test_acceptance_settles_only_when_its_window_ends(system: System) -> None:
    """Acceptance by a provider settles only when ack_within ends without a refusal."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    await system.advance(29)
    assert system.events.of("notification.delivered") == []
    await system.advance(2)
    await system.events.wait_for("notification.delivered", notification="n1", by="provider")


async def test_a_receipt_settles_at_once(system: System) -> None:
    """What the provider says of a message later is merged into the step it was."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.script(Say.accepted(receipt=OutcomeKind.RECEIPTED))
    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    await _a_moment_passes(system, shop)
    await system.events.wait_for("notification.delivered", notification="n1", by="provider")


async def test_a_receipt_may_be_bad_news(system: System) -> None:
    """A receipt that says *never* ends its step, and may close the channel."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    item = await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    system.provider.receipts.put_nowait(Receipt("scripted-1", "no such kind"))
    system.provider.receipts.put_nowait(Receipt("of somebody else", OutcomeKind.RECEIPTED))
    system.provider.receipt(item, OutcomeKind.REJECTED, closes_channel=True)
    await system.events.wait_for("notification.stored", notification="n1")
    await system.events.wait_for("channel.closed", client=device.client)


async def test_each_kind_of_a_receipt_waits_for_its_submission(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """Receipts that overtake the note of their submission are looked at again a moment later; of
    one message each kind is, and which of them stands is decided by their rank.
    """
    shop = await system.user()
    device = await system.device("scripted:a1")
    for kind in (OutcomeKind.RECEIPTED, OutcomeKind.REJECTED):
        system.provider.receipts.put_nowait(Receipt("scripted-1", kind))
    await _all_kept(system, caplog)
    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    await _a_moment_passes(system, shop)
    await system.events.wait_for("notification.delivered", notification="n1", by="provider")


async def test_a_receipt_waits_for_a_minute(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """A receipt is not forgotten while its submission may still be noted."""
    caplog.set_level(logging.INFO, "aoi_events")
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.receipts.put_nowait(Receipt("scripted-1", OutcomeKind.RECEIPTED))
    await _all_kept(system, caplog)
    system.clock.advance(59)
    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    system.clock.advance(1)
    await system.events.wait_for("notification.delivered", notification="n1", by="provider")
    assert "receipt_of_unknown_message" not in caplog.text


async def test_a_receipt_waits_for_no_more_than_a_minute(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """A receipt of a message that is not ours is forgotten, so that it cannot count for another one
    of the same name later.
    """
    caplog.set_level(logging.INFO, "aoi_events")
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.receipts.put_nowait(Receipt("scripted-1", OutcomeKind.RECEIPTED))
    await _all_kept(system, caplog)
    system.clock.advance(61)

    async def said() -> bool:
        return "receipt_of_unknown_message" in caplog.text

    await system.until(said, bool)
    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    system.provider.receipts.put_nowait(Receipt("scripted-1", OutcomeKind.REJECTED))
    await system.events.wait_for("notification.stored", notification="n1")
    assert "receipted" not in await shop.story("n1")


async def test_the_device_outranks_the_provider(system: System) -> None:
    """Evidence of the device outranks the provider's; that event carries supersedes."""
    shop, node = await system.user(), await system.node()
    device = await system.device("scripted:a1")
    system.provider.script(Say.accepted(receipt=OutcomeKind.RECEIPTED))
    await shop.send("n1", device.token)
    item = await system.provider.next_delivery()
    await _a_moment_passes(system, shop)
    await system.events.wait_for("notification.delivered", notification="n1", by="provider")

    await node.acknowledge(item)
    event = await system.events.wait_for("notification.delivered", notification="n1", by="device")
    assert event.data.supersedes == "delivered"  # type: ignore[union-attr]
    assert (await shop.status("n1"))[0].by == "device"


@pytest.mark.parametrize(
    "refusal, end",
    [(OutcomeKind.COULD_NOT_WAKE, "stored"), (OutcomeKind.NO_SUCH_APPLICATION, "failed")],
)
async def test_a_receipt_after_the_devices_refusal_changes_nothing(
    system: System, refusal: OutcomeKind, end: str
) -> None:
    """The device's own refusals end a delivery; a later receipt only adds a line to its story."""
    shop, node = await system.user(), await system.node()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    item = await system.provider.next_delivery()
    await node.report(item, refusal)
    await system.events.wait_for(f"notification.{end}", notification="n1")
    await node.report(item, OutcomeKind.RECEIPTED)
    await node.report(item, OutcomeKind.COULD_NOT_WAKE)
    await _taken(system)
    (row,) = await system.rows("n1")
    assert (row.state, row.by) == (end, None)


async def test_what_the_device_refused_after_a_receipt_is_told_in_the_story(
    system: System,
) -> None:
    """A terminal state changes only to delivered; the story tells the rest."""
    shop, node = await system.user(), await system.node()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    item = await system.provider.next_delivery()
    await node.report(item, OutcomeKind.RECEIPTED)
    await system.events.wait_for("notification.delivered", notification="n1", by="provider")
    await node.report(item, OutcomeKind.COULD_NOT_WAKE)
    await system.until(lambda: shop.story("n1"), lambda story: story[-1] == "could_not_wake")
    assert (await shop.status("n1"))[0].by == "provider"


async def test_an_attempt_that_is_not_wanted_any_more_is_not_submitted(
    open_system: OpenSystem,
) -> None:
    """Before it submits, a channel worker checks: not terminal, attempt current, not expired."""
    system = await open_system(workers=[name for name in WORKERS if name != "scripted"])
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("cancelled", device.token)
    await shop.send("expired", device.token, ttl=5)
    await shop.send("wanted", device.token)
    await shop.ask("notification.cancel", notification="cancelled")
    system.clock.advance(6)
    await system.serve("scripted")
    assert (await system.provider.next_delivery()).notification == "wanted"
    assert len(system.provider.taken) == 1


async def test_a_step_that_breaks_the_channel_fails_alone(system: System) -> None:
    """A parked step fails that step only; the others of its envelope go out."""
    shop = await system.user()
    device = await system.device("scripted:a1", apps=("a", "b", "c"))
    system.provider.script(Say.accepted(), Say.breaks(), Say.accepted())
    await shop.send("n1", *device.tokens.values())
    out = {(await system.provider.next_delivery()).application for _ in range(2)}
    stored = await system.events.wait_for("notification.stored", notification="n1")
    assert stored.data.application not in out  # type: ignore[union-attr]
    assert stored.data.reason == "parked"  # type: ignore[union-attr]


async def test_a_provider_that_is_down_eats_no_attempt(system: System) -> None:
    """What is due for a provider that is down is not attempted, waits as long as the channel says
    without growing pauses, and goes out when it is back; nothing is parked.
    """
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.up.clear()
    await shop.send("n1", device.token)
    for attempt in range(1, 6):
        await system.until(lambda: _count_awaiting_provider(system), lambda held: held == attempt)  # noqa: B023
        assert (await system.rows("n1"))[0].steps[0].retries == 0
        if attempt == 5:
            system.provider.up.set()
        await system.advance(1.1)
    assert (await system.provider.next_delivery()).notification == "n1"
    async with system.installation.store.transaction(read_only=True) as tx:
        assert await tx.parked() == []


async def test_what_was_held_back_does_not_depend_on_its_worker(
    open_system: OpenSystem,
) -> None:
    """A delivery that awaits its provider is in the store and nowhere else: another worker, which
    knows nothing of the breaker, sends it when the provider is back.
    """
    system = await open_system(workers=[name for name in WORKERS if name != "scripted"])
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.up.clear()
    stop = asyncio.Event()
    first = asyncio.ensure_future(system.installation.worker("scripted")(stop, asyncio.Event()))
    await shop.send("n1", device.token)
    await system.until(lambda: shop.story("n1"), lambda story: "unavailable" in story)
    stop.set()
    await first
    system.provider.up.set()
    await system.advance(1.1)
    await system.serve("scripted")
    assert (await system.provider.next_delivery()).notification == "n1"


async def _all_kept(system: System, caplog: pytest.LogCaptureFixture) -> None:
    """The worker has every receipt so far: they are read in order, and it complains of this one."""
    system.provider.receipts.put_nowait(Receipt("any", "no such kind"))

    async def said() -> bool:
        return "receipt_of_unknown_kind" in caplog.text

    await system.until(said, bool)


async def _count_awaiting_provider(system: System) -> int | None:
    """The attempt that was not made because the provider is down, if that is the last."""
    (row,) = await system.rows("n1")
    return row.attempts if row.steps and row.steps[0].awaits_provider else None


async def _taken(system: System) -> None:
    """Whatever was reported before is merged: the queue is handled in order."""
    shop, node = await system.user("another"), await system.node("gw-2")
    device = await system.device("scripted:a2")
    await shop.send("last", device.token)
    await node.acknowledge(await system.provider.next_delivery())
    await system.events.wait_for("notification.delivered", notification="last", by="device")


async def _a_moment_passes(system: System, shop: User) -> None:
    """Receipts look for their submission again, long before the window of the step ends. A receipt
    may be published before the acceptance, which then adds nothing to the story.
    """
    said = {"accepted", "receipted"}
    await system.until(lambda: shop.story("n1"), lambda story: not said.isdisjoint(story))
    system.clock.advance(0.5)


@pytest.mark.parametrize("kind", [ProviderUnavailable, ConfigurationError])
async def test_a_channel_that_cannot_be_used_parks_nothing(
    system: System, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """A fault of the provider's connection or of the channel's settings is no message's fault:
    nothing was attempted, and the step is tried again when it has passed.
    """

    async def away(items: Sequence[object]) -> Sequence[SubmitResult]:
        raise kind("the test took it away")

    shop = await system.user()
    device = await system.device("scripted:a1")
    with monkeypatch.context() as patch:
        patch.setattr(system.provider, "take", away)
        await shop.send("n1", device.token)
        story = await system.until(lambda: shop.story("n1"), lambda told: len(told) > 1)
    assert story == ["sent", "unavailable"]
    await system.advance(10)
    assert (await system.provider.next_delivery()).attempt == 2
    assert await system.parked() == []
