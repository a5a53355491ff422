"""``aoi send`` and ``aoi dead replay``, which speak to a RabbitMQ that has workers behind it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from aoi_events.broker.open import open_broker
from aoi_events.ports.broker import Outbound
from aoi_events.testing import AoiServer, FakeDevice, MakeDevice, WaitFor
from aoi_events.testing.containers import RabbitServer
from aoi_events.topology import REQUESTS
from tests.support.commands import AOI, Cli, Ran, environment

APP = "org.example.mail"


@pytest.fixture(autouse=True)
def as_the_shop(cli: Cli, aoi_rabbitmq: AoiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands are the shop's, and an operator's, too."""
    monkeypatch.setenv("AOI_BROKER", aoi_rabbitmq.broker_url("shop"))
    monkeypatch.setenv("AOI_STORE", aoi_rabbitmq.settings.store.get_secret_value())


@pytest.fixture
async def phone(fake_device: MakeDevice) -> FakeDevice:
    """A phone with one app."""
    return await fake_device("phone", apps=[APP], sms=False)


async def send(cli: Cli, *arguments: str) -> Ran:
    """Run ``aoi send`` while the server goes on."""
    return await asyncio.to_thread(cli, "send", *arguments)


async def test_send_and_wait(cli: Cli, phone: FakeDevice) -> None:
    """A notification is accepted, arrives, and the command returns when it was acknowledged."""
    ran = await send(cli, phone.token, "-c", "hello", "--id", "n1", "--wait", "delivered")
    assert ran.code == 0, ran.err
    assert "n1: 1 accepted" in ran.out
    assert "is delivered by device" in ran.out
    assert phone.token not in ran.out
    read = await phone.read()
    assert (read.content.data, read.notification) == ("hello", "n1")


async def test_for_scripts(cli: Cli, phone: FakeDevice) -> None:
    """``--json`` is one document: what was accepted, and the status where it was waited for."""
    ran = await send(cli, phone.token, "-c", "x", "--id", "n1", "--json", "--wait", "terminal")
    assert ran.code == 0, ran.err
    assert ran.json["accepted"]["notification"] == "n1"
    assert ran.json["status"]["deliveries"][0]["state"] == "delivered"
    again = await send(cli, phone.token, "-c", "x", "--id", "n1", "--json")
    assert again.json["accepted"] == ran.json["accepted"]
    assert "status" not in again.json


async def test_how_channels_follow_each_other(cli: Cli, phone: FakeDevice) -> None:
    """``--mode`` and ``--hedge-after`` reach the workers; a head start without a hedge is refused
    before anything is sent.
    """
    hedged = ("--mode", "hedged", "--hedge-after", "1.5")
    ran = await send(cli, phone.token, "-c", "x", *hedged, "--wait", "delivered")
    assert ran.code == 0, ran.err
    ran = await send(cli, phone.token, "-c", "x", "--hedge-after", "1.5")
    assert ran.code == 2
    assert "mode hedged" in ran.err


async def test_rejected_tokens(cli: Cli, phone: FakeDevice) -> None:
    """A forged token beside a good one: the good one is sent, the other told, exit code 1."""
    forged = phone.token[:-4] + ("aaaa" if phone.token[-4:] != "aaaa" else "bbbb")
    ran = await send(cli, phone.token, forged, "-c", "hello")
    assert ran.code == 1
    assert "1 accepted" in ran.out
    assert "token 2 (fp_" in ran.out
    assert "token_forged" in ran.out
    assert "1 of 2 tokens were rejected" in ran.err
    assert forged not in ran.out + ran.err
    assert (await phone.read()).content.data == "hello"


async def test_an_end_that_was_not_awaited(cli: Cli, phone: FakeDevice) -> None:
    """Waiting for delivered where it expires: what was accepted is still told, exit code 1."""
    await phone.switch_off()
    ran = await send(cli, phone.app.last_token, "-c", "x", "--ttl", "1", "--wait", "delivered")
    assert ran.code == 1
    assert "1 accepted" in ran.out
    assert "1 expired" in ran.err


async def test_a_conflict(cli: Cli, phone: FakeDevice) -> None:
    """The same ID with another content is refused, with the stable code."""
    assert (await send(cli, phone.token, "-c", "one", "--id", "n1")).code == 0
    ran = await send(cli, phone.token, "-c", "two", "--id", "n1")
    assert ran.code == 1
    assert "conflict" in ran.err


async def test_content_from_standard_input(
    aoi_rabbitmq: AoiServer, phone: FakeDevice, tmp_path: Path
) -> None:
    """``-c -`` sends what comes in: text as text, octets as octets."""
    environ = environment({"AOI_BROKER": aoi_rabbitmq.broker_url("shop")})
    for octets, kind in (("grüße\n".encode(), "text/plain"), (b"\xff\x00", "octet-stream")):
        process = await asyncio.create_subprocess_exec(
            *AOI, "send", phone.token, "-c", "-", env=environ, cwd=tmp_path,
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await process.communicate(octets)
        assert process.returncode == 0
        read = await phone.read()
        assert read.content.octets() == octets
        assert kind in read.content.type


async def test_a_user_that_the_broker_does_not_know(
    cli: Cli, aoi_rabbitmq: AoiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong credentials are a wrong setting: told at once, without the password."""
    url = aoi_rabbitmq.broker_url("shop").replace("shop:shop@", "shop:wrong-one@")
    monkeypatch.setenv("AOI_BROKER", url)
    ran = await send(cli, "k1.token", "-c", "x")
    assert ran.code == 78
    assert "wrong-one" not in ran.err


async def test_a_user_that_may_not_send(
    cli: Cli,
    aoi_rabbitmq: AoiServer,
    rabbit_server: RabbitServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker's user is told that it may not, and what to do."""
    vhost = aoi_rabbitmq.broker_url("shop").rpartition("/")[2]
    url = rabbit_server.add_user(vhost, "worker")
    rights = {"configure": "^$", "write": r"^amq\.default$", "read": ".*"}
    rabbit_server.api("PUT", f"/permissions/{vhost}/worker", rights)
    monkeypatch.setenv("AOI_BROKER", url)
    ran = await send(cli, "k1.token", "-c", "x")
    assert ran.code == 69
    assert "the broker user 'worker' may not publish this" in ran.err
    assert "use the URL of a user that may" in ran.err


async def test_replay(
    cli: Cli,
    aoi_rabbitmq: AoiServer,
    phone: FakeDevice,
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A parked request that fails again stays parked under its ID, and the error says why; so does
    one that is not there.
    """
    store = aoi_rabbitmq.installation.store

    async def parked() -> list[str]:
        async with store.transaction(read_only=True) as tx:
            return [row.id for row in await tx.parked()]

    broker = await open_broker(aoi_rabbitmq.broker_url("shop"))
    body = {"version": 1, "notification": "n1", "tokens": [phone.token], "colour": "blue"}
    await broker.publish([Outbound(REQUESTS, "notification.send", json.dumps(body).encode())])
    await broker.close()
    (first,) = await wait_for(parked)
    # An operator's user, who may write into the workers' queues; a sender may not.
    monkeypatch.setenv("AOI_BROKER", aoi_rabbitmq.settings.broker.get_secret_value())
    ran = await asyncio.to_thread(cli, "dead", "replay", first, "prk_unknown")
    assert (ran.code, ran.out) == (1, "")
    assert f"{first} stays parked: it failed again: invalid" in ran.err
    assert "prk_unknown stays parked: there is no parked message of that ID" in ran.err
    assert await parked() == [first]
