"""Names of a gateway's node that are gone, and devices that are gone, when the workers answer."""

from __future__ import annotations

from collections.abc import Callable

from aoi_events.contracts.requests import ConfirmSessionsV1
from aoi_events.ports.broker import Inbound
from tests.integration.gateway.conftest import Running, Start
from tests.support.device_frames import CLIENT, OTHER_CLIENT, deliver, delivery_id, hello
from tests.support.gateway_workers import Reply

THIRD_CLIENT = "cli_" + "c" * 26


def keep(requests: list[Inbound]) -> Callable[[Inbound], Reply]:
    """Keep the requests, unanswered."""

    def reply(message: Inbound) -> Reply:
        requests.append(message)
        return None

    return reply


def rename(running: Running, name: str) -> None:
    """The node has another name, as after a new connection to the broker."""
    running.gateway._node_queue.name = name


async def test_an_admission_under_a_name_that_is_gone_is_announced_under_the_next(
    running: Running,
) -> None:
    """The name changes before the answer is there: the session is announced under the new one, and
    what comes for the epoch to come waits until that is answered.
    """
    old = running.node
    announced: list[Inbound] = []

    def admit(message: Inbound) -> Reply:
        rename(running, "gw-new")
        running.workers.replies["client.present"] = keep(announced)
        return running.workers.admit(message)

    running.workers.replies["client.connected"] = admit
    device = await running.devices.open()
    await running.workers.until(lambda: announced)
    session = running.workers.connects[0].session
    await running.workers.send(old, deliver(1, session=session, epoch=2))
    await running.workers.answer(announced[0], running.workers.confirm(announced[0]))
    assert (await device.receive("notification"))["delivery"] == delivery_id(1)
    first, second = running.workers.connects
    assert (first.node, second.node) == (old, "gw-new")
    assert (second.session, second.secret, second.epoch) == (session, None, 1)
    assert running.workers.outcomes == []


async def test_an_announcement_under_a_name_that_is_gone_is_made_again(running: Running) -> None:
    """The name changes once more before the announcement is answered: the last name is announced,
    under the epoch of that answer, and what comes for the epoch after it waits.
    """
    device = await running.devices.open()
    again: list[Inbound] = []

    def announce(message: Inbound) -> Reply:
        rename(running, "gw-newest")
        running.workers.replies["client.present"] = keep(again)
        return running.workers.confirm(message)

    running.workers.replies["client.present"] = announce
    await running.drop_broker()
    await running.workers.until(lambda: again)
    _, second = running.workers.connects
    await running.workers.send(second.node, deliver(1, session=second.session, epoch=3))
    await running.workers.answer(again[0], running.workers.confirm(again[0]))
    assert (await device.receive("notification"))["delivery"] == delivery_id(1)
    third = running.workers.connects[2]
    assert (third.node, third.epoch) == ("gw-newest", 2)
    assert running.workers.outcomes == []


async def test_a_device_that_left_while_it_waited_for_its_turn_is_not_admitted(
    start: Start,
) -> None:
    """No worker is asked for it: an answer would end the session that it has elsewhere by then."""
    running = await start(requests_at_once=1)
    asked: list[Inbound] = []
    running.workers.replies["client.connected"] = keep(asked)
    first = await running.devices.connect()
    await first.send(hello())
    await running.workers.until(lambda: asked)
    second = await running.devices.connect()
    await second.send(hello(OTHER_CLIENT))
    await second.web.close()
    del running.workers.replies["client.connected"]
    await running.workers.answer(asked[0], running.workers.admit(asked[0]))
    await first.receive("welcome")
    await running.devices.open(THIRD_CLIENT)
    assert [each.client for each in running.workers.connects] == [CLIENT, THIRD_CLIENT]


async def test_a_session_that_ended_is_not_announced_again(start: Start) -> None:
    """Its announcement was not answered, and its device left: announced once more, it would be the
    client's session though nobody is there.
    """
    running = await start(request_within=2)
    gone, stays = await running.devices.open(), await running.devices.open(OTHER_CLIENT)
    announced: list[list[str]] = []

    def answer(message: Inbound) -> Reply:
        sessions = ConfirmSessionsV1.decode(message.body).sessions
        announced.append([each.client for each in sessions])
        return None if len(announced) == 1 else running.workers.confirm(message)

    running.workers.replies["client.present"] = answer
    await running.drop_broker()
    await running.workers.until(lambda: announced)
    await gone.web.close()
    await running.workers.until(lambda: running.workers.left)
    await running.workers.until(lambda: len(announced) == 2)
    assert sorted(announced[0]) == [CLIENT, OTHER_CLIENT]
    assert announced[1] == [OTHER_CLIENT]
    assert not stays.web.closed
