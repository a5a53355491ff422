"""Notifications reach apps that run and wake the others; acknowledgements have the right code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aoi_events.contracts.apps import AppNotification, Lost
from aoi_events.testing.server import AoiServer
from aoi_events.testing.waiting import WaitFor
from tests.acceptance.daemon.machine import MAIL, Machine, writes_to
from tests.support.limits import WITHIN

NEWS = "org.example.news"


def lines_of(file: Path) -> list[str]:
    """The lines that commands have written, in order."""
    return file.read_text().splitlines() if file.exists() else []


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] != "Z"


async def test_an_app_that_runs_gets_its_notification(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """8.1.4: the app instance of the token gets it, and no other; its word is the server's."""
    await machine.start()
    mail, news = await machine.attach(MAIL), await machine.attach(NEWS)
    shop = await aoi.publisher()
    await shop.send(str(mail.token), "Your parcel is here", notification="n1")
    notification = await mail.next(AppNotification)
    assert (notification.content.data, notification.notification) == ("Your parcel is here", "n1")
    assert (notification.application, notification.instance) == (MAIL, "default")
    mail.ack(notification.delivery)
    (status,) = await wait_for.state("n1", "delivered", within=WITHIN)
    assert status.by == "device"
    await shop.send(str(news.token), "first for the other", notification="n2")
    assert await news.read() == "first for the other"


@pytest.mark.aoi_settings(policy={"backlog": 2})
async def test_what_was_lost_is_told_to_each_app_once(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """The server says it when the device connects, before any app may run: each hears of it when it
    attaches, also after a kill -9, and not again.
    """
    daemon = await machine.start()
    token = await machine.register(MAIL)
    await machine.register(NEWS)
    daemon.kill()
    await daemon.ended(within=WITHIN)
    shop = await aoi.publisher()
    for number in range(4):
        await shop.send(token, f"mail {number}", notification=f"n{number}")
    for name in ("n2", "n3"):
        await wait_for("notification.failed", notification=name, reason="backlog_full")
    daemon = await machine.start()
    await daemon.until_logged("notifications_lost", within=WITHIN)
    mail = await machine.attach(MAIL)
    assert (await mail.next(Lost)).count == 2
    assert [await mail.read() for _ in range(2)] == ["mail 0", "mail 1"]
    await wait_for.state("n1", "delivered", within=WITHIN)
    daemon.kill()
    await daemon.ended(within=WITHIN)
    await machine.start()
    assert (await (await machine.attach(NEWS)).next(Lost)).count == 2
    mail = await machine.attach(MAIL)
    await shop.send(token, "one more", notification="n4")
    assert await mail.read() == "one more", "nothing comes before it"


async def test_an_app_that_does_not_run_is_woken(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """8.1.4: its command gets it as JSON on standard input; exit code 0 is *delivered*."""
    await machine.start()
    given = tmp_path / "given"
    token = await machine.register(MAIL, writes_to(given))
    shop = await aoi.publisher()
    await shop.send(token, "wake up", notification="n1")
    (status,) = await wait_for.state("n1", "delivered", within=WITHIN)
    assert status.by == "device"
    (line,) = lines_of(given)
    notification = AppNotification.decode(line)
    assert notification.content.data == "wake up"
    assert notification.delivery == status.delivery


async def test_a_command_sees_nothing_of_our_settings(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """Its environment names the app and the delivery, and has no settings and no secrets."""
    await machine.start(url=machine.settings["AOI_CLIENT__URL"] + "?password=hidden")
    seen = tmp_path / "seen"
    token = await machine.register(MAIL, ("/bin/sh", "-c", 'env >"$0"', str(seen)))
    await (await aoi.publisher()).send(token, "x", notification="n1")
    (status,) = await wait_for.state("n1", "delivered", within=WITHIN)
    environment = dict(line.split("=", 1) for line in lines_of(seen))
    assert environment["AOI_APPLICATION"] == MAIL
    assert environment["AOI_DELIVERY"] == status.delivery
    assert "hidden" not in seen.read_text()
    assert {name for name in environment if name.startswith("AOI_")} == {
        "AOI_APPLICATION",
        "AOI_INSTANCE",
        "AOI_DELIVERY",
    }
    assert "PYTHONPATH" not in environment


async def test_an_app_that_neither_runs_nor_can_be_woken_waits(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """The server stores what comes meanwhile, and sends it when the app attaches (8.1.3)."""
    await machine.start()
    app = await machine.attach()
    await app.close()
    shop = await aoi.publisher()
    await shop.send(str(app.token), "while you were away", notification="n1")
    await wait_for.state("n1", "stored", within=WITHIN)
    again = await machine.attach()
    assert again.token == app.token
    assert await again.read() == "while you were away"
    await wait_for.state("n1", "delivered", within=WITHIN)


@pytest.mark.parametrize(
    "command, told",
    [
        (("/bin/sh", "-c", "exit 75"), "acknowledged"),
        (("/bin/sh", "-c", "echo went wrong >&2; exit 3"), "command_failed"),
        (("/bin/sh", "-c", "kill -9 $$"), "command_failed"),
        (("/does/not/exist",), "command_not_run"),
        (("/etc/passwd",), "command_not_run"),
    ],
    ids=["later", "failed", "died", "missing", "no program"],
)
async def test_a_command_that_cannot_take_it(
    machine: Machine,
    aoi: AoiServer,
    wait_for: WaitFor,
    command: tuple[str, ...],
    told: str,
) -> None:
    """Any end but 0 is *could not wake*, never *no such application*: stored, and not lost."""
    daemon = await machine.start()
    token = await machine.register(MAIL, command)
    await (await aoi.publisher()).send(token, "x", notification="n1")
    await wait_for.state("n1", "stored", within=WITHIN)
    await daemon.until_logged(told, within=WITHIN)
    app = await machine.attach()
    assert app.token == token
    assert await app.read() == "x"
    await wait_for.state("n1", "delivered", within=WITHIN)


async def test_a_command_that_failed_is_tried_again(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """What it could not take comes again by itself, and then it can: everything is delivered."""
    daemon = await machine.start(wake_again_after="0.2")
    ready, given = tmp_path / "ready", tmp_path / "given"
    program = 'test -e "$0" || exit 75; cat >>"$1"'
    token = await machine.register(MAIL, ("/bin/sh", "-c", program, str(ready), str(given)))
    shop = await aoi.publisher()
    for number in range(3):
        await shop.send(token, f"number {number}", notification=f"n{number}")
    await daemon.until_logged("redelivery_requested", times=2, within=WITHIN)
    assert not given.exists()
    ready.touch()
    for number in range(3):
        await wait_for.state(f"n{number}", "delivered", within=WITHIN)
    assert len(lines_of(given)) == 3


async def test_a_command_that_takes_too_long_is_killed_with_its_children(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """After its time the process group is killed, and the server stores the notification."""
    daemon = await machine.start(wake_within="0.5")
    pids = tmp_path / "pids"
    program = 'sleep 1000 & echo $$ $! >"$0"; wait'
    token = await machine.register(MAIL, ("/bin/sh", "-c", program, str(pids)))
    await (await aoi.publisher()).send(token, "x", notification="n1")
    await daemon.until_logged("command_killed", within=WITHIN)
    await wait_for.state("n1", "stored", within=WITHIN)
    parent, child = map(int, pids.read_text().split())
    await wait_for(lambda: not runs(parent) and not runs(child), within=WITHIN)


async def test_what_a_command_says_is_bounded_and_never_holds_it_up(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """A megabyte on both outputs is read and counted, 2 KiB of it are logged when it fails; nobody
    waits for what the command leaves running.
    """
    daemon = await machine.start()
    program = "sleep 60 & yes hello | head -c 1000000 >&2; echo done; exit 1"
    token = await machine.register(MAIL, ("/bin/sh", "-c", program))
    await (await aoi.publisher()).send(token, "x", notification="n1")
    await wait_for.state("n1", "stored", within=WITHIN)
    await daemon.until_logged("command_failed", within=WITHIN)
    (output,) = [entry["output"] for entry in daemon.log if entry["event"] == "command_failed"]
    assert output.startswith("hello\nhello")
    assert output.endswith(f"{1_000_000 + 5 - 2048} octets more")
    assert len(output) < 2_200


async def test_what_a_command_that_succeeds_says_is_not_logged(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """The output of a command may be the notification itself, so it is not logged."""
    daemon = await machine.start()
    token = await machine.register(MAIL, ("tee", "/dev/null"))
    await (await aoi.publisher()).send(token, "between you and me", notification="n1")
    await wait_for.state("n1", "delivered", within=WITHIN)
    await daemon.until_logged("app_woken", within=WITHIN)
    assert "between you and me" not in json.dumps(daemon.log)


async def test_commands_run_a_few_at_once(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """With a limit of one, no two commands overlap, whichever apps they wake."""
    await machine.start(wake_at_once="1")
    done = tmp_path / "done"
    program = 'mkdir "$0.held" || echo overlap >>"$0"; cat >>"$0"; sleep 0.05; rmdir "$0.held"'
    names = [f"{MAIL}.{number}" for number in range(4)]
    command = ("/bin/sh", "-c", program, str(done))
    tokens = [await machine.register(name, command) for name in names]
    await (await aoi.publisher()).send(tokens, "x", notification="n1")
    await wait_for.state("n1", "delivered", within=WITHIN)
    assert {json.loads(line)["application"] for line in lines_of(done)} == set(names)


async def test_an_app_that_does_not_answer_counts_as_not_running(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """It is detached, and its command gets the notification instead."""
    await machine.start(ack_within="0.3")
    given = tmp_path / "given"
    await machine.register(MAIL, writes_to(given))
    app = await machine.attach()
    await (await aoi.publisher()).send(str(app.token), "anybody there?", notification="n1")
    await app.next(AppNotification)
    assert await app.detached() == "too_slow"
    await wait_for.state("n1", "delivered", within=WITHIN)
    assert len(lines_of(given)) == 1


async def test_an_app_that_leaves_with_a_notification_does_not_have_it(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """What it had not acknowledged wakes it by its command."""
    await machine.start()
    given = tmp_path / "given"
    await machine.register(MAIL, writes_to(given))
    app = await machine.attach()
    await (await aoi.publisher()).send(str(app.token), "x", notification="n1")
    await app.next(AppNotification)
    await app.close()
    await wait_for.state("n1", "delivered", within=WITHIN)
    assert len(lines_of(given)) == 1


async def test_an_app_may_say_that_it_cannot(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """Its *could not wake* goes to the server as it is; the next attachment gets it again."""
    await machine.start()
    app = await machine.attach()
    await (await aoi.publisher()).send(str(app.token), "x", notification="n1")
    app.ack((await app.next(AppNotification)).delivery, "could_not_wake")
    await wait_for.state("n1", "stored", within=WITHIN)
    again = await machine.attach()
    assert await app.detached() == "replaced"
    assert await again.read() == "x"


async def test_the_newest_connection_is_the_app(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """A second attachment replaces the first, and gets what the first did not acknowledge."""
    await machine.start()
    first = await machine.attach()
    await (await aoi.publisher()).send(str(first.token), "x", notification="n1")
    await first.next(AppNotification)
    second = await machine.attach()
    assert await first.detached() == "replaced"
    assert await second.read() == "x"
    await wait_for.state("n1", "delivered", within=WITHIN)


async def test_instances_are_told_apart(machine: Machine, aoi: AoiServer) -> None:
    """Two instances of one application have two tokens, and each gets its own."""
    await machine.start()
    work, home = await machine.attach(MAIL, "work"), await machine.attach(MAIL, "home")
    assert work.token != home.token
    shop = await aoi.publisher()
    await shop.send(str(home.token), "for home")
    await shop.send(str(work.token), "for work")
    assert await home.read() == "for home"
    assert await work.read() == "for work"


async def test_an_app_that_is_gone(machine: Machine, aoi: AoiServer, wait_for: WaitFor) -> None:
    """An unregistered app is detached, its token is revoked, and the next send is rejected."""
    await machine.start()
    app = await machine.attach()
    shop = await aoi.publisher()
    assert await machine.unregister(MAIL)
    assert await app.detached() == "unregistered"
    accepted = await shop.send(str(app.token), "too late")
    (rejected,) = accepted.rejected
    assert rejected.code == "token_revoked"
    assert not (await machine.apps()).apps
    again = await machine.attach()
    assert again.token != app.token
