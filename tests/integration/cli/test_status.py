"""``aoi status``: the story of a delivery, for an operator."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.contracts.answers import MAX_STORIES
from aoi_events.testing import AoiServer, MakeDevice, WaitFor
from tests.support.commands import Cli, Ran
from tests.support.limits import WITHIN


@pytest.fixture(autouse=True)
def at_the_store(cli: Cli, aoi: AoiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command looks at the store of the server."""
    monkeypatch.setenv("AOI_STORE", aoi.settings.store.get_secret_value())


async def status(cli: Cli, *arguments: str) -> Ran:
    """Run ``aoi status`` while the server goes on."""
    return await asyncio.to_thread(cli, "status", *arguments)


async def test_the_story_hop_by_hop(
    cli: Cli, aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """By the notification's ID, and by the delivery's, the same story: sent, acknowledged."""
    phone = await fake_device("phone", apps=["org.example.mail"], sms=False)
    shop = await aoi.publisher("shop")
    sent = await shop.send(phone.token, "hello", notification="n1")
    await phone.read()
    await wait_for.state("n1", "delivered")
    (delivery,) = sent.deliveries
    by_notification = await status(cli, "n1")
    assert by_notification.code == 0
    assert (
        "n1 from shop to org.example.mail: delivered by device over websocket"
        in by_notification.out
    )
    assert delivery.delivery in by_notification.out
    accepted = (await status(cli, "n1", "--json")).json[0]["accepted_at"]
    assert f"  {accepted[:10]} {accepted[11:19]} UTC  dlv_" in by_notification.out
    *lines, last = by_notification.out.splitlines()
    assert last.startswith(("read from sqlite:///", "read from postgresql://"))
    assert "@" not in last
    hops = [line.split()[2:] for line in lines[3:]]
    assert hops == [["sent", "websocket", "1"], ["delivered", "websocket", "by", "device"]]
    assert (await status(cli, delivery.delivery)).out == by_notification.out
    assert phone.token not in by_notification.out


async def test_for_scripts(
    cli: Cli, aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """``--json`` has one document per delivery, with who, where and every hop."""
    phone = await fake_device("phone", apps=["org.example.mail"], sms=False)
    shop = await aoi.publisher("shop")
    await shop.send(phone.token, "hello", notification="n1")
    await wait_for.state("n1", "delivered")
    (told,) = (await status(cli, "n1", "--json")).json
    assert (told["notification"], told["sender"], told["state"]) == ("n1", "shop", "delivered")
    assert told["client"] == phone.client.client_id
    assert told["story"][0]["what"] == "sent"
    assert phone.token not in str(told)


async def test_what_else_was_sent_and_what_it_cost(
    cli: Cli, aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """Of a hedge over two channels: which delivered, that both were sent, and the cost."""
    phone = await fake_device("phone", apps=["org.example.mail"])
    shop = await aoi.publisher("shop")
    phone.cut()
    await shop.send(phone.token, "hi", notification="n1", mode="hedged", hedge_after=0.2)
    assert (await phone.read()).channel == "sms"
    await phone.restore()
    await wait_for.state("n1", "delivered")
    ran = await status(cli, "n1")
    assert "over sms" in ran.out.splitlines()[0]
    assert ran.out.splitlines()[1].endswith("cost 1")
    (told,) = (await status(cli, "n1", "--json")).json
    sent = [(hop["channel"], hop.get("cost")) for hop in told["story"] if hop["what"] == "sent"]
    assert sent == [("websocket", None), ("sms", 1.0)]
    assert (told["channel"], told["cost"]) == ("sms", 1.0)


async def test_of_many_deliveries_the_states(
    cli: Cli, aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """A line for each, and how to have the story of one; the same for scripts."""
    apps = [f"org.example.a{n}" for n in range(MAX_STORIES + 1)]
    phone = await fake_device("phone", apps=apps, sms=False)
    shop = await aoi.publisher("shop")
    tokens = [app.token for app in phone.apps.values()]
    sent = await shop.send(tokens, "hello", notification="n1")
    await wait_for.state("n1", "delivered")
    of_all = await status(cli, "n1")
    assert of_all.out.count("delivered by device") == len(apps)
    assert "sent" not in of_all.out
    assert f"{len(apps)} deliveries; `aoi status dlv_…` shows every step of one" in of_all.out
    assert "sent" in (await status(cli, sent.deliveries[3].delivery)).out
    assert not any(told["story"] for told in (await status(cli, "n1", "--json")).json)


async def test_senders_with_the_same_id(
    cli: Cli, aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor
) -> None:
    """IDs belong to senders: both are shown, or the one that is asked for."""
    phone = await fake_device("phone", apps=["org.example.mail"], sms=False)
    for sender in ("shop", "bank"):
        publisher = await aoi.publisher(sender)
        await publisher.send(phone.token, "hello", notification="n1")
    await wait_for.state("n1", "delivered")
    both = (await status(cli, "n1", "--json")).json
    assert {each["sender"] for each in both} == {"shop", "bank"}
    (one,) = (await status(cli, "n1", "--sender", "bank", "--json")).json
    assert one["sender"] == "bank"
    assert (await status(cli, "n1", "--sender", "nobody")).code == 1


@pytest.mark.parametrize("identifier", ["n1", "dlv_aaaaaaaaaaaaaaaaaaaaaaaaaa", "[red]\x1b[2J"])
async def test_an_unknown_id(cli: Cli, identifier: str) -> None:
    """Nothing is known: said so with exit code 1, and nothing that was typed is obeyed."""
    ran = await status(cli, identifier)
    assert (ran.code, ran.out) == (1, "")
    assert "no notification or delivery" in ran.err
    assert " is stored in sqlite:///" in ran.err
    assert "\x1b" not in ran.err


async def test_the_providers_of_channels(cli: Cli, aoi: AoiServer, wait_for: WaitFor) -> None:
    """``--channels``: each worker's providers, which of them is down since when and why, when it is
    probed, and how many deliveries wait; a table, and the same for scripts.
    """

    async def told(state: str) -> list[dict[str, str]]:
        found = (await status(cli, "--channels", "--json")).json["providers"]
        return [row for row in found if row.get("provider") and row["state"] == state]

    assert await wait_for(lambda: told("closed"), within=WITHIN)
    await aoi.smsc.go_down()
    (down,) = await wait_for(lambda: told("open"), within=WITHIN)
    assert down["channel"] == "sms"
    # The second from the first attempt to connect again.
    assert down["why"].startswith(("no link to the SMSC", "no connection: "))
    assert down["since"] < down["next_probe"]
    shown = await status(cli, "--channels")
    assert shown.code == 0
    (line,) = [
        line for line in shown.out.splitlines() if line.split()[:1] == ["sms"] and "open" in line
    ]
    assert "ago" in line
    await aoi.smsc.come_back()
    assert (await status(cli, "--channels", "--json")).json["waiting"]["sms"] == 0


async def test_what_to_ask_must_be_said(cli: Cli) -> None:
    """Neither an ID nor ``--channels``: what to type is said, with exit code 2."""
    ran = await status(cli)
    assert ran.code == 2
    assert "aoi status --channels" in ran.err
