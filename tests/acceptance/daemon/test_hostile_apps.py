"""Hostile processes at the socket get an error, and do not affect other apps."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from aoi_events.contracts.apps import MAX_LINE, AppNotification, AppRequestFailed, AppsListed
from aoi_events.testing.server import AoiServer
from tests.acceptance.daemon.machine import MAIL, App, Machine
from tests.support.limits import WITHIN

STRANGER: Final = 12_345
GROUP: Final = 23_456

_AS_SOMEBODY: Final = """
import os, socket, sys
user, group, path, line = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
os.setgroups([group])
os.setgid(user)
os.setuid(user)
with socket.socket(socket.AF_UNIX) as app:
    try:
        app.connect(path)
    except OSError as error:
        sys.exit(type(error).__name__)
    app.sendall(line.encode() + b"\\n")
    sys.stdout.write(app.makefile().readline())
"""


@pytest.fixture
async def running(machine: Machine) -> AsyncIterator[Machine]:
    """A device whose daemon runs, and must have noticed nothing of note at the end."""
    daemon = await machine.start()
    yield machine
    assert (await machine.status()).device == "kitchen-display"
    assert daemon.running
    assert not [entry for entry in daemon.log if "Traceback" in json.dumps(entry)]
    assert not daemon.logged("client_failed")


async def says(machine: Machine, octets: bytes) -> str:
    """The code of the error that answers these octets, as the last thing."""
    app = await machine.app()
    app.say_octets(octets)
    return await app.failed()


BAD_LINES: Final = (
    (b"\n", "malformed"),
    (b"\x00\xff\xfe\n", "malformed"),
    (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
    (b"[" * 5_000 + b"\n", "malformed"),
    (b"[]\n", "malformed"),
    (b"{}\n", "unknown_request"),
    (b'{"version": 1, "type": "explode"}\n', "unknown_request"),
    (b'{"version": 1, "type": ["attach"]}\n', "unknown_request"),
    (b'{"type": "status"}\n', "version_unsupported"),
    (b'{"version": 2, "type": "status"}\n', "version_unsupported"),
    (b'{"version": true, "type": "status"}\n', "version_unsupported"),
    (b'{"version": 1, "type": "status", "more": 1}\n', "invalid"),
    (b'{"version": 1, "type": "attach", "application": "../../etc"}\n', "invalid"),
    (b'{"version": 1, "type": "attach", "application": 7}\n', "invalid"),
    (b'{"version": 1, "type": "set_identity", "identity": "a\\u0000b"}\n', "invalid"),
    (b'{"version": 1, "type": "ack", "delivery": "dlv_' + b"a" * 26 + b'"}\n', "invalid"),
    (b'{"version": 1, "type": "unregister", "application": "nobody"}\n', "not_found"),
    (b"x" * (MAX_LINE + 2) + b"\n", "too_large"),
    (b"x" * (8 * MAX_LINE), "too_large"),
)


async def test_bad_lines(running: Machine) -> None:
    """Each is answered with its stable code, and the connection is closed."""
    for line, code in BAD_LINES:
        assert await says(running, line) == code, line[:100]


async def test_any_octets(running: Machine) -> None:
    """Whatever comes, broken anywhere, ends in an error or an end, and never in silence."""
    dice = random.Random(8_1_3)
    await running.register(MAIL)
    good = json.dumps({"version": 1, "type": "attach", "application": MAIL}).encode() + b"\n"
    for _ in range(60):
        octets = bytearray(good)
        for _ in range(dice.randrange(1, 4)):
            octets[dice.randrange(len(octets) - 1)] = dice.randrange(256)
        app = await running.app()
        app.say_octets(bytes(octets))
        await app.drained()


async def test_a_command_is_bounded(running: Machine) -> None:
    """Too many arguments, too long ones, and octets that no argument can hold are refused."""
    for command in (["x"] * 65, ["x" * 2049], ["x" * 2000] * 3, ["a\0b"], "rm -rf /", [7]):
        request = {"version": 1, "type": "register", "application": MAIL, "command": command}
        assert await says(running, json.dumps(request).encode() + b"\n") == "invalid"
    assert not (await running.apps()).apps


async def test_who_says_nothing_or_half_a_line_is_closed(running: Machine) -> None:
    """A line must end within seconds, a connection must ask for something."""
    half, silent = await running.app(), await running.app()
    half.say_octets(b'{"version": 1,')
    assert await half.failed() == "expired"
    assert await silent.failed() == "expired"


async def test_an_app_that_breaks_the_protocol_is_detached(
    running: Machine, aoi: AoiServer
) -> None:
    """Asking on an attached connection, or acknowledging what was not given, ends it; what it had
    goes to the next one.
    """
    for wrong in ({"type": "status"}, {"type": "ack", "delivery": "dlv_" + "a" * 26}):
        app = await running.attach()
        await (await aoi.publisher()).send(str(app.token), json.dumps(wrong))
        await app.next(AppNotification)
        app.say({"version": 1, **wrong})
        assert await app.failed() in ("invalid", "not_found")
        again = await running.attach()
        assert await again.read() == json.dumps(wrong)
        await again.close()


async def test_who_asks_and_does_not_read_holds_nobody_up(running: Machine) -> None:
    """A peer that does not read thousands of answers does not delay others."""
    for number in range(150):
        await running.register(f"{MAIL}.{number}", ("/bin/echo", "x" * 2000), wait=0.0)
    deaf = await running.app()
    deaf.say_octets(b'{"version": 1, "type": "apps"}\n' * 2_000)
    assert len((await running.apps()).apps) == 150
    assert (await deaf.next(AppsListed)).apps


async def test_connections_of_one_user_are_bounded(running: Machine) -> None:
    """A connection beyond the limit is refused; when others end, there is room again."""
    many = [await running.app() for _ in range(512)]
    assert await says(running, b"") == "quota_exceeded"
    for app in many:
        await app.close()
    async with asyncio.timeout(WITHIN):
        while await code_of_status(running) == "quota_exceeded":
            continue


async def test_registrations_are_bounded(running: Machine) -> None:
    """A registration beyond the limit is refused, and changes no other app instance."""
    for number in range(200):
        await running.register(f"{MAIL}.{number}", wait=0.0)
    request = {"version": 1, "type": "register", "application": "one.more"}
    assert await says(running, json.dumps(request).encode() + b"\n") == "quota_exceeded"
    assert len((await running.apps()).apps) == 200


async def code_of_status(machine: Machine) -> str | None:
    """The code of the error that a request for the status is answered with, if any."""
    app = await App.connect(machine.socket)
    app.say({"version": 1, "type": "status"})
    frame = await app.any()
    await app.close()
    return frame.code if isinstance(frame, AppRequestFailed) else None


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that other users can enter, unlike those of pytest."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
async def shared(aoi: AoiServer, tmp_path: Path, passable: Path) -> AsyncIterator[Machine]:
    """A device whose socket others can reach, as far as the mode of its folder lets them."""
    async with Machine(tmp_path, aoi.gateway_url) as machine:
        machine.use_socket(passable / "run" / "client.sock")
        yield machine


async def says_as(machine: Machine, user: int, group: int, value: dict[str, Any]) -> Any:
    """What another user of that supplementary group is answered, or why not connected.

    Only root can become another user.
    """
    process = await asyncio.create_subprocess_exec(
        *([] if os.geteuid() == 0 else ["sudo", "-n"]),
        sys.executable,
        "-c",
        _AS_SOMEBODY,
        str(user),
        str(group),
        str(machine.socket),
        json.dumps({"version": 1, **value}),
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(WITHIN):
        out, err = await process.communicate()
    return json.loads(out) if out else err.decode().strip()


async def test_another_user_cannot_even_connect(shared: Machine) -> None:
    """Without a group, the modes of folder and socket exclude other users."""
    await shared.start()
    assert await says_as(shared, STRANGER, GROUP, {"type": "status"}) == "PermissionError"


async def test_another_user_who_got_through_is_refused(shared: Machine) -> None:
    """If the modes are too wide, the credentials of the peer still count."""
    await shared.start()
    shared.socket.parent.chmod(0o711)
    shared.socket.chmod(0o666)
    answer = await says_as(shared, STRANGER, GROUP, {"type": "status"})
    assert (answer["type"], answer["code"]) == ("error", "not_allowed")


async def test_apps_of_a_group(shared: Machine, aoi: AoiServer) -> None:
    """Members of the group attach and own what they register, and may neither set commands, nor
    the identity, nor take what belongs to another user.
    """
    await shared.start(group=str(GROUP))
    folder = shared.socket.parent.stat()
    assert (folder.st_gid, folder.st_mode & 0o777) == (GROUP, 0o710)
    assert (shared.socket.stat().st_gid, shared.socket.stat().st_mode & 0o777) == (GROUP, 0o660)
    await shared.register(MAIL)
    theirs = {"type": "attach", "application": "org.example.theirs"}
    registered = await says_as(shared, STRANGER, GROUP, {**theirs, "type": "register"})
    assert registered["type"] == "registered"
    assert (await says_as(shared, STRANGER, GROUP, theirs))["type"] == "attached"
    owners = {each.application: each.owner for each in (await shared.apps()).apps}
    assert owners == {MAIL: os.geteuid(), "org.example.theirs": STRANGER}
    seen = await says_as(shared, STRANGER, GROUP, {"type": "apps"})
    assert [each["application"] for each in seen["apps"]] == ["org.example.theirs"]
    command = {"type": "register", "application": "org.example.evil", "command": ["/bin/id"]}
    for forbidden in (
        command,
        {**theirs, "type": "register", "owner": 0},
        {"type": "attach", "application": MAIL},
        {"type": "register", "application": MAIL},
        {"type": "set_identity", "identity": "tel:+1"},
    ):
        answer = await says_as(shared, STRANGER, GROUP, forbidden)
        assert (answer["type"], answer["code"]) == ("error", "not_allowed"), forbidden
    answer = await says_as(shared, STRANGER, GROUP, {"type": "unregister", "application": MAIL})
    assert answer["code"] == "not_found"
    assert await says_as(shared, STRANGER + 1, GROUP + 1, theirs) == "PermissionError"


async def test_users_of_a_group(shared: Machine) -> None:
    """Where users are named, other members of the group are refused; an owner can be named, too."""
    await shared.start(group=str(GROUP), users=f"[{STRANGER}]")
    attach = {"type": "attach", "application": MAIL}
    answer = await says_as(shared, STRANGER + 1, GROUP, attach)
    assert (answer["type"], answer["code"]) == ("error", "not_allowed")
    await shared.register(MAIL, ("/bin/true",), owner=STRANGER)
    assert (await says_as(shared, STRANGER, GROUP, attach))["type"] == "attached"
