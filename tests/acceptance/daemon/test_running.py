"""The daemon as a process: its files, its place, its end, its log."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from aoi_events.contracts.apps import AppNotification, Attached
from aoi_events.testing.server import AoiServer
from aoi_events.testing.waiting import WaitFor
from tests.acceptance.daemon.machine import IDENTITY, MAIL, Machine
from tests.acceptance.daemon.test_delivering import runs
from tests.support.limits import WITHIN

DRAINED, STATE, NOT_DRAINED, SETTINGS, AT_ONCE, KILLED = 0, 74, 75, 78, 143, -9


def mode(path: Path) -> int:
    """The mode of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def takes(fifo: Path, marks: Path) -> tuple[str, ...]:
    """A command that writes its process ID, and ends when the test writes to the pipe."""
    os.mkfifo(fifo)
    return ("/bin/sh", "-c", 'echo $$ >"$1"; read line <"$0"', str(fifo), str(marks))


async def test_its_files_are_its_owners(machine: Machine) -> None:
    """Folders have mode 0700; socket, state, commands and locks 0600."""
    await machine.start()
    await machine.register(MAIL, ("/bin/true",))
    assert {mode(machine.state), mode(machine.socket.parent)} == {0o700}
    files = [*machine.state.iterdir(), *machine.socket.parent.iterdir()]
    assert {file.name for file in files} >= {"client.json", "apps.json", "client.sock"}
    assert {file.name: mode(file) for file in files} == {file.name: 0o600 for file in files}


async def test_term_drains(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """After TERM, notifications in progress are finished, new ones are refused; exit code 0."""
    daemon = await machine.start()
    fifo, marks = tmp_path / "fifo", tmp_path / "marks"
    token = await machine.register(MAIL, takes(fifo, marks))
    other = await machine.attach("org.example.other")
    shop = await aoi.publisher()
    await shop.send(token, "held", notification="n1")
    await wait_for(marks.exists, within=WITHIN)
    daemon.terminate()
    await daemon.until_logged("draining", within=WITHIN)
    await shop.send(str(other.token), "too late", notification="n2")
    await wait_for.state("n2", "stored", within=WITHIN)
    with fifo.open("w") as let_go:
        let_go.write("go on\n")
    await wait_for.state("n1", "delivered", within=WITHIN)
    assert await daemon.ended(within=WITHIN) == DRAINED
    assert await other.detached() == "stopping"
    assert not machine.socket.exists()


async def test_a_second_term_ends_it_at_once(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """It waits for nothing, and its commands do not outlive it: exit code 143."""
    daemon = await machine.start()
    marks = tmp_path / "marks"
    token = await machine.register(MAIL, takes(tmp_path / "fifo", marks))
    await (await aoi.publisher()).send(token, "held", notification="n1")
    await wait_for(lambda: marks.exists() and marks.read_text(), within=WITHIN)
    daemon.terminate()
    await daemon.until_logged("draining", within=WITHIN)
    daemon.terminate()
    assert await daemon.ended(within=WITHIN) == AT_ONCE
    await wait_for(lambda: not runs(int(marks.read_text())), within=WITHIN)


async def test_hup_ends_nobody(machine: Machine) -> None:
    """It reads its files again, and goes on."""
    daemon = await machine.start()
    os.kill(daemon.pid, signal.SIGHUP)
    await daemon.until_logged("files_read_again", within=WITHIN)
    await machine.status()
    daemon.terminate()
    assert await daemon.ended(within=WITHIN) == DRAINED


async def test_what_cannot_be_drained_is_left_to_the_server(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """Past its time the command is killed, exit code 75; the next start delivers."""
    daemon = await machine.start(drain_within="0.3")
    marks = tmp_path / "marks"
    token = await machine.register(MAIL, takes(tmp_path / "fifo", marks))
    await (await aoi.publisher()).send(token, "held", notification="n1")
    await wait_for(lambda: marks.exists() and marks.read_text(), within=WITHIN)
    daemon.terminate()
    assert await daemon.ended(within=WITHIN) == NOT_DRAINED
    assert not runs(int(marks.read_text()))
    await machine.start()
    assert await (await machine.attach()).read() == "held"
    await wait_for.state("n1", "delivered", within=WITHIN)


async def test_one_daemon_per_state(machine: Machine) -> None:
    """A second daemon on the same folder ends with 74, and does not affect the first."""
    first = await machine.start()
    second = await machine.spawn(socket=str(machine.folder / "other" / "client.sock"))
    assert await second.ended(within=WITHIN) == STATE
    assert "another AOI Client uses" in second.log[-1]["error"]
    assert (await machine.status()).connected or first.running


async def test_one_daemon_per_socket(machine: Machine) -> None:
    """A socket that lives is not taken: 78, and the first one goes on answering there."""
    await machine.start()
    second = await machine.spawn(state=str(machine.folder / "other"))
    assert await second.ended(within=WITHIN) == SETTINGS
    assert "another AOI Client answers at" in second.log[-1]["error"]
    await machine.status()


async def test_a_socket_left_behind_is_taken_over(machine: Machine) -> None:
    """After kill -9 the next start replaces the socket, and has the same registrations."""
    daemon = await machine.start()
    token = await machine.register(MAIL)
    daemon.kill()
    assert await daemon.ended(within=WITHIN) == KILLED
    assert machine.socket.exists()
    await machine.start()
    assert await machine.register(MAIL) == token


async def test_what_is_not_ours_is_not_removed(machine: Machine) -> None:
    """A file, or the socket of another program, is not removed; exit code 78."""
    machine.socket.parent.mkdir(mode=0o700)
    machine.socket.write_text("precious")
    daemon = await machine.spawn()
    assert await daemon.ended(within=WITHIN) == SETTINGS
    assert "is not a socket; move it away" in daemon.log[-1]["error"]
    assert machine.socket.read_text() == "precious"
    machine.socket.unlink()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(machine.socket))
        foreign.listen()
        daemon = await machine.spawn()
        assert await daemon.ended(within=WITHIN) == SETTINGS
        assert machine.socket.is_socket()


async def test_a_folder_that_others_can_write_is_refused(machine: Machine) -> None:
    """In such a folder others could replace the socket; exit code 78."""
    machine.socket.parent.mkdir()
    machine.socket.parent.chmod(0o777)
    daemon = await machine.spawn()
    assert await daemon.ended(within=WITHIN) == SETTINGS
    assert "can be written by others" in daemon.log[-1]["error"]


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"url": ""}, "AOI_CLIENT__URL"),
        ({"url": "https://push.example.org/"}, "AOI_CLIENT__URL: url 'https://push.example.org/'"),
        ({"url": "ws:///aoi"}, "no WebSocket URL"),
        ({"identity": ""}, "AOI_CLIENT__IDENTITY"),
        ({"group": "no-such-group"}, "AOI_CLIENT__GROUP"),
        ({"ca_file": "/does/not/exist"}, "AOI_CLIENT__CA_FILE"),
        ({"socket": "/run/" + "x" * 120}, "longer than the 107 octets"),
    ],
    ids=["no url", "scheme", "no host", "no identity", "no group", "no certificates", "long path"],
)
async def test_settings_that_cannot_work(
    machine: Machine, settings: dict[str, str], told: str
) -> None:
    """Exit code 78, and the log names the setting."""
    daemon = await machine.spawn(**settings)
    assert await daemon.ended(within=WITHIN) == SETTINGS
    assert told in daemon.log[-1]["error"]


async def test_secrets_of_the_url_are_not_shown(machine: Machine) -> None:
    """Neither the status nor the log repeats user, password and query of the gateway's URL."""
    daemon = await machine.start(
        url="ws://ann:hidden@127.0.0.1:1/aoi?key=hidden", register_on="install"
    )
    await daemon.until_logged("cannot_connect", within=WITHIN)
    status = await machine.status()
    assert status.url == "ws://127.0.0.1:1/aoi"
    assert "hidden" not in f"{status} {daemon.log}"


async def test_state_that_is_damaged(machine: Machine) -> None:
    """Exit code 74; the log names the file and what to do, and shows nothing of its content."""
    machine.state.mkdir(mode=0o700)
    for name in ("apps.json", "client.json"):
        file = machine.state / name
        file.write_text('{"version": 1, "credentials": "hidden", "apps": "hidden"}')
        daemon = await machine.spawn()
        assert await daemon.ended(within=WITHIN) == STATE
        assert "damaged" in daemon.log[-1]["error"]
        assert "hidden" not in json.dumps(daemon.log)
        file.unlink()


async def test_a_disk_that_is_full(machine: Machine, aoi: AoiServer, wait_for: WaitFor) -> None:
    """A wish that cannot be kept is refused and not half done; what the client itself cannot keep
    ends it with 74; with room again everything is as it was, and nothing is lost.
    """
    daemon = await machine.start()
    app = await machine.attach()
    unlimited = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
    one_more = await machine.app()
    one_more.say({"version": 1, "type": "register", "application": "one.more"})
    assert await one_more.failed() == "unavailable"
    assert [each.application for each in (await machine.apps()).apps] == [MAIL]
    await (await aoi.publisher()).send(str(app.token), "held", notification="n1")
    app.ack((await app.next(AppNotification)).delivery)
    assert await daemon.ended(within=WITHIN) == STATE
    assert "cannot write" in daemon.log[-1]["error"]
    await machine.start()
    again = await machine.attach()
    assert again.token == app.token
    assert await again.read() == "held"
    await wait_for.state("n1", "delivered", within=WITHIN)


async def test_the_log_holds_no_secret(machine: Machine, aoi: AoiServer, wait_for: WaitFor) -> None:
    """Not the secret, a token, the user's identity or content; at the level *debug*, neither."""
    machine.settings["AOI_LOG__LEVEL"] = "debug"
    daemon = await machine.start()
    app = await machine.attach()
    token = await machine.register("org.example.woken", ("/bin/false",))
    shop = await aoi.publisher()
    await shop.send([str(app.token), token], "confidential", notification="n1")
    assert await app.read() == "confidential"
    await daemon.until_logged("command_failed", within=WITHIN)
    secret = json.loads((machine.state / "client.json").read_text())["credentials"]["secret"]
    daemon.terminate()
    assert await daemon.ended(within=WITHIN) == DRAINED
    logged = json.dumps(daemon.log)
    for hidden in (secret, str(app.token), token, IDENTITY, "confidential"):
        assert hidden not in logged


async def test_pauses_between_attempts_grow_up_to_a_limit_with_jitter(machine: Machine) -> None:
    """An AOI Server that is not there is tried less and less often, never at fixed times."""
    daemon = await machine.start(
        url="ws://127.0.0.1:1/aoi",
        register_on="install",
        reconnect_first="0.1",
        reconnect_most="0.4",
    )
    await daemon.until_logged("disconnected", times=9, within=WITHIN)
    ended = [entry for entry in daemon.log if entry["event"] == "disconnected"]
    times = [datetime.fromisoformat(entry["timestamp"]).timestamp() for entry in ended]
    pauses = [later - earlier for earlier, later in pairwise(times)][:8]
    full = [0.1, 0.2, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]
    assert all(pause >= 0.49 * most for pause, most in zip(pauses, full, strict=True)), pauses
    # A busy machine adds to some pauses, hardly to most of them.
    assert sorted(pauses[2:])[2] < 0.4 + 0.3, pauses
    assert len({round(pause, 3) for pause in pauses[2:]}) > 2, pauses


async def test_a_server_that_is_away_costs_nothing(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """Without a server apps attach, and get their token later; the status has the reason."""
    gateway = machine.settings["AOI_CLIENT__URL"]
    daemon = await machine.start(url="ws://127.0.0.1:1/aoi")
    await machine.register(MAIL, wait=0.0)
    app = await machine.app()
    app.say({"version": 1, "type": "attach", "application": MAIL})
    assert (await app.next(Attached)).token is None
    await daemon.until_logged("disconnected", within=WITHIN)
    status = await machine.status()
    assert not status.connected
    assert "cannot connect" in str(status.trouble)
    (warning,) = [entry for entry in daemon.log if entry["event"] == "cannot_connect"]
    assert (warning["level"], warning["reason"]) == ("warning", status.trouble)
    daemon.terminate()
    assert await daemon.ended(within=WITHIN) == DRAINED
    await machine.start(url=gateway)
    again = await machine.attach()
    await (await aoi.publisher()).send(str(again.token), "hello")
    assert (await again.next(AppNotification)).content.data == "hello"
