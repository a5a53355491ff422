"""Never lost, harmless twice: workers that die between commit and publish."""

from __future__ import annotations

from aoi_events.contracts.envelopes import OutcomeKind
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.integration.services.crashes import Replies, die_after_commit, system_without
from tests.support.actors import secret_and_hash
from tests.support.system import WORKERS


@BOTH
async def test_a_registration_is_answered_by_the_next_run(open_system: OpenSystem) -> None:
    """Promise: a crash between commit and publish costs a repeat, not a loss: the same answer and
    events, and nothing is changed twice.
    """
    system = await system_without(open_system, "registration")
    replies = await Replies.of(await system.user("devices"))
    _, hashed = secret_and_hash()
    body = {"device": "d", "identity": "i", "secret_hash": hashed}
    await replies.ask("client.register", **body)
    await die_after_commit(system, "registration")
    assert system.events.seen == []
    await system.serve("registration")
    answer = await replies.next()
    client = getattr(answer, "client", None)
    await system.events.wait_for("client.registered", client=client)
    await replies.ask("client.register", **body)
    assert await replies.next() == answer


@BOTH
async def test_a_notification_goes_out_with_the_next_run(open_system: OpenSystem) -> None:
    """Promise: outputs are a function of message and rows: the first steps and the events of an
    accepted notification are published again, and the device sees it once.
    """
    system = await system_without(open_system, "notification")
    replies = await Replies.of(await system.user())
    near, far = await system.device("scripted:a1"), await system.device()
    content = {"data": "x"}
    tokens = [near.token, far.token]
    await replies.ask("notification.send", notification="n1", tokens=tokens, content=content)
    await die_after_commit(system, "notification")
    assert system.provider.taken == []
    before = await system.rows("n1")
    await system.serve("notification")
    await system.provider.next_delivery()
    await system.events.wait_for("notification.accepted", notification="n1")
    await system.events.wait_for("notification.stored", notification="n1")
    assert len(getattr(await replies.next(), "deliveries", ())) == 2
    assert [row.attempts for row in await system.rows("n1")] == [row.attempts for row in before]


@BOTH
async def test_an_outcome_is_merged_once_and_told_again(open_system: OpenSystem) -> None:
    """Promise: duplicates of outcomes change nothing; what they imply is published again."""
    system = await system_without(open_system, "outcome")
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    await node.acknowledge(await node.next_delivery())
    await die_after_commit(system, "outcome")
    before = await system.rows("n1")
    assert before[0].state == "delivered"
    system.clock.advance(1)
    await system.serve("outcome")
    await system.events.wait_for("notification.delivered", notification="n1")
    assert await system.rows("n1") == before


async def test_a_refusal_survives_its_worker(open_system: OpenSystem) -> None:
    """Promise: the next step that an outcome led to is started by the run after the crash."""
    system = await system_without(open_system, "outcome")
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    welcome = await node.connect(device)
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    await node.report(item, OutcomeKind.ROUTE_LOST, epoch=welcome.epoch)
    await die_after_commit(system, "outcome")
    await system.serve("outcome")
    assert (await system.provider.next_delivery()).attempt == 2


async def test_an_activation_is_answered_by_the_next_run(open_system: OpenSystem) -> None:
    """Promise: the answer, the events and the challenge of an activation come with the repeat."""
    system = await open_system(
        plugin={"needs_proof": True}, workers=[w for w in WORKERS if w != "activation"]
    )
    device = await system.device()
    replies = await Replies.of(device.user)
    offers = [{"type": "scripted", "parameters": {"address": "a1"}}, {"type": "websocket"}]
    await replies.ask("channel.activate", **device.proof, sequence=1, offers=offers)
    await die_after_commit(system, "activation")
    await system.serve("activation")
    answer = await replies.next()
    assert len(getattr(answer, "selected", ())) == 2
    await system.events.wait_for("channel.pending", client=device.client)
    await system.provider.next_challenge()
    assert len(system.provider.challenges) == 1


@BOTH
async def test_a_session_that_was_taken_over_is_closed_by_the_next_run(
    open_system: OpenSystem,
) -> None:
    """Promise: a worker dies after it noted the newer session: the run after it closes the older
    one, and so does any repeat, also when the newer one has gone meanwhile.
    """
    system = await open_system()
    node, device = await system.node(), await system.device()
    replies = await Replies.of(node.user)
    await node.connect(device, "s1")
    given = {"client": device.client, "secret": device.secret, "node": node.name}
    await replies.ask("client.connected", **given, session="s2")
    first = await replies.next()
    assert (await node.next_close()).session == "s1"
    await replies.ask("client.connected", **given, session="s2")
    assert await replies.next() == first
    assert (await node.next_close()).session == "s1"
    await node.disconnect(device, getattr(first, "epoch", 0))
    await replies.ask("client.connected", **given, session="s2")
    await replies.next()
    assert (await node.next_close()).session == "s1"
    await node.disconnect(device, getattr(first, "epoch", 0) + 1)
    await node.connect(device, "s3")
    assert node.items.empty(), "nothing was taken over"


async def test_quarantine_tells_everything_again(open_system: OpenSystem) -> None:
    """A message that was committed by workers that died is, in quarantine, published again like any
    repeat, though it is new there.
    """
    system = await system_without(open_system, "notification")
    replies = await Replies.of(await system.user())
    device = await system.device("scripted:a1")
    await replies.ask(
        "notification.send", notification="n1", tokens=[device.token], content={"data": "x"}
    )
    for _ in range(2):
        await die_after_commit(system, "notification")
    await system.serve("notification")
    await system.provider.next_delivery()
    assert getattr(await replies.next(), "notification", None) == "n1"
