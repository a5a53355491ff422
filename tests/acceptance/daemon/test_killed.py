"""kill -9 at random moments under load: nothing is lost, and every acknowledgement is true."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

from aoi_events import Publisher
from aoi_events.contracts.apps import AppNotification
from aoi_events.testing.server import AoiServer
from aoi_events.testing.waiting import WaitFor
from tests.acceptance.daemon.machine import Machine, writes_to
from tests.acceptance.daemon.test_delivering import lines_of
from tests.acceptance.server_under_test import seeded
from tests.support.limits import WITHIN

LIVES = 6
APPS = 3
log = logging.getLogger(__name__)


async def send_until(
    publisher: Publisher, tokens: list[str], done: asyncio.Event, dice: random.Random
) -> list[str]:
    """Send one notification after the other; the IDs of those that were accepted."""
    sent: list[str] = []
    while not done.is_set():
        number = len(sent)
        token = dice.choice(tokens)
        accepted = await publisher.send(token, f"number {number}", notification=f"n{number}")
        assert not accepted.rejected
        sent.append(accepted.notification)
        await asyncio.wait([asyncio.ensure_future(done.wait())], timeout=0.02)
    return sent


async def test_nothing_is_lost_when_the_daemon_is_killed_under_load(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """However often it dies: every notification ends delivered, each was given to its app by then,
    tokens stay the same, and every life begins with whole state.
    """
    dice = seeded()
    given = tmp_path / "given"
    names = [f"org.example.app{number}" for number in range(APPS)]
    daemon = await machine.start()
    tokens = [await machine.register(name, writes_to(given)) for name in names]
    shop = await aoi.publisher()
    done = asyncio.Event()
    sending = asyncio.create_task(send_until(shop, tokens, done, dice))
    for _ in range(LIVES):
        before = len(lines_of(given))
        more = dice.randrange(1, 12)
        await wait_for(lambda: len(lines_of(given)) >= before + more, within=WITHIN)  # noqa: B023
        daemon.kill()
        assert await daemon.ended(within=WITHIN) == -9
        daemon = await machine.start()
    done.set()
    sent = await sending
    # As apps do when they start: what is stored comes.
    assert [await machine.register(name) for name in names] == tokens
    for notification in sent:
        (status,) = await wait_for.state(notification, "delivered", within=WITHIN)
        assert status.by == "device"
    received = [AppNotification.decode(line) for line in lines_of(given)]
    assert {each.notification for each in received} == set(sent)
    twice = len(received) - len({each.delivery for each in received})
    log.info("%d notifications, %d lives, %d given twice", len(sent), LIVES + 1, twice)
    # Only what ended while the state was being saved at a kill comes twice: a few per life.
    assert twice <= LIVES * APPS * 4


async def test_a_registration_survives_a_kill_at_any_moment(
    machine: Machine, wait_for: WaitFor
) -> None:
    """Killed anywhere between the app's wish and the server's answer, the next life makes it good;
    so with what was given up.
    """
    dice = seeded()
    tokens: dict[str, str] = {}
    for number in range(8):
        name = f"org.example.app{number}"
        daemon = await machine.start()
        asking = asyncio.create_task(machine.register(name, ("/bin/true", str(number))))
        await asyncio.wait([asking], timeout=dice.uniform(0, 0.05))
        daemon.kill()
        await daemon.ended(within=WITHIN)
        await asyncio.gather(asking, return_exceptions=True)
        if asking.exception() is None:
            tokens[name] = asking.result()
    daemon = await machine.start()
    listed = {each.application: each.command for each in (await machine.apps()).apps}
    assert set(tokens) <= set(listed)
    for name, token in tokens.items():
        assert await machine.register(name) == token
    for name, command in listed.items():
        assert command == ("/bin/true", name.removeprefix("org.example.app"))
        assert await machine.register(name)
    gone = sorted(listed)[:4]
    for name in gone:
        leaving = asyncio.create_task(machine.unregister(name))
        await asyncio.wait([leaving], timeout=dice.uniform(0, 0.02))
        daemon.kill()
        await daemon.ended(within=WITHIN)
        await asyncio.gather(leaving, return_exceptions=True)
        daemon = await machine.start()
        await daemon.until_logged("connected", within=WITHIN)
    left = {each.application for each in (await machine.apps()).apps}
    for name in gone:
        if name not in left:
            await wait_for("application.revoked", application=name, within=WITHIN)
