"""The operator's policy in the workers: gates, order, bounds (8.2.4)."""

from __future__ import annotations

from pathlib import Path

from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.system import System

pytestmark = BOTH


async def under(open_system: OpenSystem, tmp_path: Path, policy: str) -> System:
    """The installation under this policy."""
    file = tmp_path / "policy.toml"
    file.write_text(policy)
    return await open_system(policy_file=file)


async def test_a_gate_holds_whatever_the_sender_wants(
    open_system: OpenSystem, tmp_path: Path
) -> None:
    """Below *high* nothing goes over the gated channel: not at once, not later, not when it is all
    that there is; then it is stored, and goes out over what may be used when that comes.
    """
    gate = '[channels.scripted]\nleast_urgency = "high"'
    system = await under(open_system, tmp_path, gate)
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await shop.send("n1", device.token, mode="parallel")
    await system.events.wait_for("notification.stored", notification="n1")
    await system.advance(60)
    assert system.provider.deliveries == []
    await node.connect(device)
    await system.process_due()
    item = await node.next_delivery()
    assert item.notification == "n1"
    await node.acknowledge(item)
    await system.events.wait_for("notification.delivered", notification="n1", channel="websocket")
    assert system.provider.deliveries == []
    await shop.send("n2", device.token, mode="parallel", urgency="high")
    assert (await system.provider.next_delivery()).notification == "n2"


async def test_now_or_never_behind_a_gate_is_never(open_system: OpenSystem, tmp_path: Path) -> None:
    """``ttl=0`` and no channel that may be used: expired at once, not stored."""
    gate = '[channels.scripted]\nleast_urgency = "high"'
    system = await under(open_system, tmp_path, gate)
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token, ttl=0)
    await system.events.wait_for("notification.expired", notification="n1")
    assert system.provider.deliveries == []


async def test_an_application_has_its_own_mode_and_the_sender_the_last_word(
    open_system: OpenSystem, tmp_path: Path
) -> None:
    """Notification before application before the file's default."""
    policy = 'mode = "hedged"\nhedge_after = 5\n[applications."org.mail"]\nmode = "parallel"'
    system = await under(open_system, tmp_path, policy)
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1", apps=["org.mail", "org.news"])
    await node.connect(device)
    await shop.send("default", device.tokens["org.news"])
    await shop.send("application", device.tokens["org.mail"])
    await shop.send("sender", device.tokens["org.mail"], mode="fallback")
    starts = {}
    for name in ("default", "application", "sender"):
        (row,) = await system.rows(name)
        starts[name] = [state.step.start_after for state in row.steps]
    assert starts == {"default": [0.0, 5.0], "application": [0.0, 0.0], "sender": [0.0, None]}


async def test_order_time_and_size_are_the_operators(
    open_system: OpenSystem, tmp_path: Path
) -> None:
    """The preferred channel first, with its time to acknowledge, and a wake-up for what is larger
    than it may carry.
    """
    policy = 'preference = ["scripted"]\n[channels.scripted]\nack_within = 7\nlargest = 4\ncost = 2'
    system = await under(open_system, tmp_path, policy)
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    system.provider.default = Say.accepted()
    await shop.send("n1", device.token)
    item = await system.provider.next_delivery()
    assert item.wake_up
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    await system.advance(7)
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1", channel="websocket")
    (status,) = await shop.status("n1")
    assert (status.channel, status.cost) == ("websocket", 2.0)


async def test_what_was_spent_counts_when_it_is_planned_anew(
    open_system: OpenSystem, tmp_path: Path
) -> None:
    """A delivery that has cost what it may goes out over what costs nothing only; one that the
    provider refused has cost nothing.
    """
    policy = "most_cost = 1\n[channels.scripted]\ncost = 1\nlargest = 0"
    system = await under(open_system, tmp_path, policy)
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    system.provider.script(Say.accepted(), Say.rejected())
    for name, heard in (("n1", "accepted"), ("n2", "rejected")):
        await shop.send(name, device.token)
        await system.provider.next_delivery()
        await system.until(lambda name=name: shop.story(name), lambda s, h=heard: h in s)  # type: ignore[misc]
    await system.advance(31)
    await system.events.wait_for("notification.stored", notification="n1")
    await node.connect(device)
    await system.process_due()
    assert {(await node.next_delivery()).notification for _ in range(2)} == {"n1", "n2"}
    planned = {
        row.notification: [s.step.channel for s in row.steps]
        for row in await system.rows("n1", "n2")
    }
    assert planned == {"n1": ["websocket"], "n2": ["websocket", "scripted"]}
    costs = [(await shop.status(name))[0].cost for name in ("n1", "n2")]
    assert costs == [1.0, 0.0]
