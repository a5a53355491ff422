"""``aoi dead``: what a person does with messages that were set aside."""

from __future__ import annotations

import asyncio
import re

import pytest

from aoi_events.broker.open import open_broker
from aoi_events.ports.broker import Outbound
from aoi_events.testing import AoiServer, MakeDevice, WaitFor
from aoi_events.topology import REQUESTS
from tests.support.commands import Cli, Ran

pytestmark = pytest.mark.usefixtures("at_the_store")


@pytest.fixture
def at_the_store(cli: Cli, aoi: AoiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands look at the store of the server."""
    monkeypatch.setenv("AOI_STORE", aoi.settings.store.get_secret_value())


async def dead(cli: Cli, *arguments: str) -> Ran:
    """Run ``aoi dead`` while the server goes on."""
    return await asyncio.to_thread(cli, "dead", *arguments)


async def park(
    aoi: AoiServer, wait_for: WaitFor, *bodies: bytes, key: str = "notification.send"
) -> list[str]:
    """Send what is no request; the IDs under which it was set aside, oldest first."""
    broker = await open_broker(aoi.broker_url("shop"))
    store = aoi.installation.store

    async def parked() -> list[str]:
        async with store.transaction(read_only=True) as tx:
            rows = sorted(await tx.parked(), key=lambda row: row.parked_at)
        return [row.id for row in rows]

    before = len(await parked())
    try:
        for body in bodies:
            await broker.publish([Outbound(REQUESTS, key, body)])

        async def all_parked() -> list[str]:
            found = await parked()
            return found if len(found) == before + len(bodies) else []

        return await wait_for(all_parked)
    finally:
        await broker.close()


async def test_a_list_that_is_cut_says_so(cli: Cli, aoi: AoiServer, wait_for: WaitFor) -> None:
    """Whoever sees the newest hears how many more there are, and how to see them."""
    ids = await park(aoi, wait_for, b"1", b"2", b"3")
    ran = await dead(cli, "list", "--limit", "2")
    assert ran.out.count("prk_") == 2
    assert "and 1 older; `aoi dead list --limit 3` lists all" in ran.out
    assert (await dead(cli, "list", "--limit", "2", "--json")).json["more"] == 1
    assert "older" not in (await dead(cli, "list")).out
    assert (await dead(cli, "drop", *ids)).out == "dropped 3\n"


async def test_nothing_is_parked(cli: Cli) -> None:
    """An installation without trouble says so."""
    ran = await dead(cli, "list")
    assert (ran.code, ran.out) == (0, "Nothing is parked.\n")
    assert (await dead(cli, "list", "--json")).json == {"parked": [], "more": 0, "counted_only": []}


async def test_list_and_show(cli: Cli, aoi: AoiServer, wait_for: WaitFor) -> None:
    """A message that is no request is listed with its reason, and shown with its body."""
    (identifier,) = await park(aoi, wait_for, b'{"version": 1, "colour": "blue"}')
    ran = await dead(cli, "list")
    assert ran.code == 0
    first, second = ran.out.splitlines()
    assert first.startswith(identifier)
    assert first.endswith("notification.send of shop")
    assert second.startswith("    invalid: ")
    assert "invalid: notification: is required" in second
    assert second.rstrip().endswith("(would be refused again)")
    ran = await dead(cli, "show", identifier)
    assert ran.code == 0
    assert '{"version": 1, "colour": "blue"}' in ran.out
    shown = (await dead(cli, "show", identifier, "--json")).json
    assert shown["id"] == identifier
    assert shown["body"] == '{"version": 1, "colour": "blue"}'
    assert shown["replayable"] is True


async def test_tokens_are_masked(
    cli: Cli, aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """A token in a body is shown by its key's ID only, in text and in JSON."""
    phone = await fake_device("phone", apps=["org.example.mail"], sms=False)
    body = f'{{"version": 1, "tokens": ["{phone.token}"], "colour": "blue"}}'
    (identifier,) = await park(aoi, wait_for, body.encode())
    for arguments in (["show", identifier], ["show", identifier, "--json"], ["list"]):
        ran = await dead(cli, *arguments)
        assert ran.code == 0
        assert phone.token not in ran.out
        assert phone.token.partition(".")[2][:20] not in ran.out
    assert ".[token]" in (await dead(cli, "show", identifier)).out


async def test_a_terminal_obeys_nothing_from_outside(
    cli: Cli, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """Control characters and markup in a body and in a routing key are shown, not done."""
    body = "\x1b[2J\x1b]0;owned\x07[red]\r\nno JSON\u202e".encode()
    (identifier,) = await park(aoi, wait_for, body)
    (other,) = set(await park(aoi, wait_for, b"x", key="\x1b[31m[bold].\x9b")) - {identifier}
    for arguments in (["show", identifier], ["list"], ["show", other]):
        ran = await dead(cli, *arguments)
        assert ran.code == 0
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ran.out)
    assert (
        r"\x1b[2J\x1b]0;owned\x07[red]\r\nno JSON\u202e"
        in (await dead(cli, "show", identifier)).out
    )
    assert r"\x1b[31m[bold].\x9b" in (await dead(cli, "show", other)).out


async def test_drop(cli: Cli, aoi: AoiServer, wait_for: WaitFor) -> None:
    """What was dropped is gone; what is not there is told, and nothing else dropped with it."""
    first, second = await park(aoi, wait_for, b"a", b"b")
    ran = await dead(cli, "drop", first, "prk_missing")
    assert ran.code == 1
    assert "not parked: prk_missing; `aoi dead list` shows what is" in ran.err
    ran = await dead(cli, "drop", first)
    assert (ran.code, ran.out) == (0, "dropped 1\n")
    assert (await dead(cli, "show", first)).code == 1
    assert (await dead(cli, "show", second)).code == 0


async def test_what_lost_a_secret_cannot_be_replayed(
    cli: Cli, aoi: AoiServer, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message whose secret was redacted says why it cannot come again, and stays."""
    secret = "A" * 43
    body = f'{{"version": 1, "secret": "{secret}", "colour": "blue"}}'
    (identifier,) = await park(aoi, wait_for, body.encode(), key="channel.activate")
    monkeypatch.setenv("AOI_BROKER", "amqp://nobody:is@127.0.0.1:1/there")
    ran = await dead(cli, "replay", identifier)
    assert ran.code == 1
    assert f"{identifier} stays parked: a secret was redacted" in ran.err
    ran = await dead(cli, "show", identifier)
    assert ran.code == 0
    assert secret not in ran.out


@pytest.mark.aoi_settings(policy={"parked_per_sender": 1})
async def test_over_quota_is_counted(cli: Cli, aoi: AoiServer, wait_for: WaitFor) -> None:
    """Beyond a sender's quota messages are counted only, and the count is shown."""
    await park(aoi, wait_for, b"first")
    broker = await open_broker(aoi.broker_url("shop"))
    await broker.publish([Outbound(REQUESTS, "notification.send", b"second")])
    await broker.close()

    async def counted() -> bool:
        return "and 1 more malformed of shop" in (await dead(cli, "list")).out

    await wait_for(counted)
    told = (await dead(cli, "list", "--json")).json["counted_only"]
    assert told == [{"sender": "shop", "code": "malformed", "messages": 1}]
