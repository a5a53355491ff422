"""``aoi client …``: what a person types, and what a script reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events.contracts.apps import AppRequestFailed
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.testing.server import AoiServer
from tests.acceptance.daemon.machine import IDENTITY, MAIL, Machine
from tests.support.commands import run
from tests.support.limits import WITHIN

KEY = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
"""The public key of RFC 8292, section 2.4."""


async def test_a_script_reads_json(machine: Machine) -> None:
    """Token, apps and status as JSON; the token is nowhere but where it was asked for."""
    daemon = await machine.start()
    registered = await machine.cli("register-app", MAIL, "--command", "/bin/echo 'a b' c", "--json")
    assert registered.code == 0
    token = registered.json["token"]
    apps = await machine.cli("apps", "--json")
    (app,) = apps.json["apps"]
    assert app["command"] == ["/bin/echo", "a b", "c"]
    assert (app["fingerprint"], app["attached"]) == (fingerprint_of(token), False)
    await daemon.until_logged("connected", within=WITHIN)
    status = (await machine.cli("status", "--json")).json
    assert (status["connected"], status["device"]) == (True, "kitchen-display")
    assert status["client"].startswith("cli_")
    assert token not in apps.out + str(status)
    assert IDENTITY not in str(status)
    again = await machine.cli("register-app", MAIL, "--command", "", "--json")
    assert again.json["token"] == token
    assert (await machine.apps()).apps[0].command == ()
    gone = await machine.cli("unregister-app", MAIL, "--json")
    assert gone.json["confirmed"]
    assert (await machine.cli("apps")).out == "No app is registered.\n"


async def test_a_token_can_be_for_one_sender_only(machine: Machine, aoi: AoiServer) -> None:
    """Bound to a VAPID key it is another token, that others cannot send to; unnamed, and after a
    kill -9, it stays as it was.
    """
    daemon = await machine.start()
    anybodys = await machine.register(MAIL)
    bound = (await machine.cli("register-app", MAIL, "--sender-key", KEY, "--json")).json["token"]
    assert bound != anybodys
    answer = await (await aoi.publisher()).send([anybodys, bound], "x")
    assert [each.code for each in answer.rejected] == ["token_revoked", "not_allowed"]
    daemon.kill()
    await daemon.ended(within=WITHIN)
    await machine.start()
    assert await machine.register(MAIL) == bound
    assert (await machine.attach()).token == bound
    ran = await machine.cli("register-app", MAIL, "--sender-key", "no key")
    assert (ran.code, "--sender-key: " in ran.err) == (2, True)


async def test_misspelt_application_cannot_attach(machine: Machine) -> None:
    """An unknown name is refused, registers nothing, and detaches no app."""
    await machine.start()
    app = await machine.attach()
    misspelt = await machine.app()
    misspelt.say({"version": 1, "type": "attach", "application": MAIL + "x"})
    failed = await misspelt.next(AppRequestFailed)
    assert (failed.code, failed.field) == ("not_found", "application")
    assert f"{MAIL}x/default is not registered here" in failed.message
    await misspelt.ended()
    other = await machine.app()
    other.say({"version": 1, "type": "attach", "application": MAIL, "instance": "two"})
    assert await other.failed() == "not_found"
    assert [each.application for each in (await machine.apps()).apps] == [MAIL]
    await app.close()
    assert (await machine.attach()).token == app.token


async def test_what_is_wrong_is_told(machine: Machine) -> None:
    """Wrong arguments end with 2, refusals with 1, each with what was wrong."""
    await machine.start()
    for arguments, code, told in (
        (("register-app", "../etc"), 2, "NAME: must have the form"),
        (("register-app", MAIL, "--command", "'unclosed"), 2, "--command: No closing quotation"),
        (("register-app", MAIL, "--wait", "61"), 2, "--wait"),
        (("set-identity", "x" * 300), 2, "IDENTITY: "),
        (("unregister-app", "nobody"), 1, "not_found"),
    ):
        ran = await machine.cli(*arguments)
        assert (ran.code, told in " ".join(ran.err.split())) == (code, True), ran.err
    assert not (await machine.apps()).apps


async def test_without_a_server_the_token_comes_later(machine: Machine) -> None:
    """75: it is registered on the device, and the server is asked as soon as it can be."""
    gateway = machine.settings["AOI_CLIENT__URL"]
    daemon = await machine.start(url="ws://127.0.0.1:1/aoi")
    ran = await machine.cli("register-app", MAIL, "--wait", "0")
    assert (ran.code, ran.out) == (75, "")
    assert "run the command again for the token" in ran.err
    ran = await machine.cli("unregister-app", MAIL, "--wait", "0.1")
    assert (ran.code, "will be informed once connected" in " ".join(ran.out.split())) == (0, True)
    assert (await machine.cli("register-app", MAIL, "--wait", "0")).code == 75
    daemon.terminate()
    await daemon.ended(within=WITHIN)
    await machine.start(url=gateway)
    assert (await machine.cli("register-app", MAIL)).code == 0


@pytest.mark.parametrize("command", ["status", "apps", "register-app x", "set-identity x"])
def test_without_a_daemon(tmp_path: Path, command: str) -> None:
    """69, where it was looked for, and what to do."""
    settings = {"AOI_CLIENT__SOCKET": str(tmp_path / "nobody.sock")}
    ran = run("client", *command.split(), cwd=tmp_path, settings=settings)
    assert (ran.code, ran.out) == (69, "")
    said = " ".join(ran.err.split())
    assert "is `aoi client run` running?" in said
    assert "AOI_CLIENT__SOCKET says where it listens" in said


async def test_settings_from_a_file(machine: Machine) -> None:
    """AOI_CONFIG's table ``[client]`` is enough, for the daemon and for whoever asks it."""
    names = [name for name in machine.settings if name.startswith("AOI_CLIENT__")]
    lines = []
    for name in names:
        value = machine.settings.pop(name)
        quoted = value if value.replace(".", "").isdigit() else f'"{value}"'
        lines.append(f"{name.removeprefix('AOI_CLIENT__').lower()} = {quoted}")
    file = machine.folder / "aoi.toml"
    file.write_text("[client]\n" + "\n".join(lines) + '\nmetered = ["wwan*"]\n')
    machine.settings["AOI_CONFIG"] = str(file)
    await machine.start()
    assert (await machine.cli("register-app", MAIL)).code == 0
    assert "kitchen-display" in (await machine.cli("status")).out
