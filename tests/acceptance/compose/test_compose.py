"""`docker compose up` delivers as documented, and nobody in it may more than it must."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aoi_events.broker.open import open_broker
from aoi_events.client import AoiClient, ChannelOffer, MemoryStorage, Notification
from aoi_events.client.shell.websocket import WebSocketTransport
from aoi_events.ports.broker import Outbound
from aoi_events.publishing import Publisher
from aoi_events.testing.scripted_client import CuttableTransport, ScriptedSms
from aoi_events.topology import REQUESTS
from tests.acceptance.compose.stack import COMPOSE, Stack
from tests.support.limits import WITHIN
from tests.support.pages import block

# The first test of a run waits for the image and for everything to start.
pytestmark = pytest.mark.timeout(600)

EDGE = {"gateway", "endpoint"}
"""Who faces the world."""
WORKERS = {"registration", "activation", "notification", *EDGE, "outcome", "deadlines"}
SERVERS = {"rabbitmq", "postgres"}
ONCE = {"credentials", "migrate", "store-folder"}
APPLICATION = "com.example.shop"


class Inbox:
    """An app on a device that is connected to the stack's gateway."""

    def __init__(self, device: AoiClient, token: str, came: asyncio.Queue[Notification]) -> None:
        self.device = device
        self.token = token
        self._came = came

    async def read(self) -> Notification:
        """The next notification that the app gets."""
        async with asyncio.timeout(WITHIN):
            return await self._came.get()


@asynccontextmanager
async def a_device(
    stack: Stack,
    *,
    number: str | None = None,
    sms: ScriptedSms | None = None,
    transport: CuttableTransport | None = None,
) -> AsyncIterator[Inbox]:
    """A device with one app; with a telephone ``number``, if it has one."""
    offers = [ChannelOffer(type="websocket")]
    if number is not None:
        offers.append(ChannelOffer(type="sms", parameters={"msisdn": number}))
    device = AoiClient(
        transport=transport or WebSocketTransport(stack.gateway),
        storage=MemoryStorage(),
        device="test",
        identity=f"tel:{number or '+15550100'}",
        offers=offers,
        sms=sms,
    )
    came: asyncio.Queue[Notification] = asyncio.Queue()
    async with device:
        app = await device.register_application(APPLICATION, came.put, timeout=WITHIN)
        await device.until_channels({offer.type for offer in offers}, timeout=WITHIN)
        yield Inbox(device, app.token, came)


async def shop(stack: Stack) -> Publisher:
    """The example Application Server."""
    return Publisher(await asyncio.to_thread(stack.url, "shop"))


def test_everything_comes_up_healthy(stack: Stack) -> None:
    """With nothing set every worker becomes healthy, what runs once succeeds, SMS is not there."""
    containers = stack.containers()
    assert set(containers) == WORKERS | SERVERS | ONCE
    for service in WORKERS | SERVERS:
        assert [each["State"]["Health"]["Status"] for each in containers[service]] == ["healthy"]
    for service in ONCE:
        assert [each["State"]["ExitCode"] for each in containers[service]] == [0]
    assert "SMS is off: to switch it on, set AOI_CHANNELS__SMS__HOST" in stack.compose(
        "logs", "migrate"
    )


async def test_a_notification_is_delivered(stack: Stack) -> None:
    """What `shop` publishes through the broker's port reaches a device at the gateway's port."""
    async with await shop(stack) as publisher, a_device(stack) as inbox:
        accepted = await publisher.send(inbox.token, "Your parcel is here", timeout=WITHIN)
        notification = await inbox.read()
        assert (notification.content.data, notification.channel) == (
            "Your parcel is here",
            "websocket",
        )
        status = await publisher.wait(accepted.notification, "delivered", timeout=WITHIN)
        assert [delivery.by for delivery in status.deliveries] == ["device"]


def test_every_container_is_confined(stack: Stack) -> None:
    """Nobody is root, no root file system is writable, no capability, no password to be seen."""
    secrets_of_all = set(stack.passwords().values())
    for service, containers in stack.containers().items():
        for each in containers:
            host, config = each["HostConfig"], each["Config"]
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
            assert not host["Privileged"], service
            told = " ".join([*config["Env"], *config["Cmd"], json.dumps(config["Labels"])])
            assert not [secret for secret in secrets_of_all if secret in told], service
    for service in WORKERS | SERVERS:
        assert stack.compose("exec", "-T", service, "id", "-u").strip() != "0", service


def test_only_loopback_reaches_it(stack: Stack) -> None:
    """Only the broker and the workers at the edge publish ports, and on loopback only."""
    published = {
        service: {
            binding["HostIp"]
            for each in containers
            for bindings in each["HostConfig"]["PortBindings"].values()
            for binding in bindings
        }
        for service, containers in stack.containers().items()
    }
    assert {service: found for service, found in published.items() if found} == {
        "gateway": {"127.0.0.1"},
        "endpoint": {"127.0.0.1"},
        "rabbitmq": {"127.0.0.1"},
    }


def test_each_worker_reads_its_own_credentials_only(stack: Stack) -> None:
    """A worker that was taken over finds the password of no other role, a gateway and an endpoint
    no key and no way to the store.
    """
    script = 'for file in /run/aoi/*; do if [ -r "$file" ]; then echo "$file"; fi; done'
    for service in WORKERS:
        readable = stack.compose("exec", "-T", service, "sh", "-c", script).split()
        keys = set() if service in EDGE else {"/run/aoi/keys.json"}
        assert set(readable) == keys | {f"/run/aoi/{service}.toml"}
    asked = (
        'import socket\ntry: print(socket.gethostbyname("postgres"))\nexcept OSError: print("no")'
    )
    for service in EDGE:
        read = stack.compose("exec", "-T", service, "cat", f"/run/aoi/{service}.toml")
        assert set(tomllib.loads(read)) == {"broker"}
        assert stack.compose("exec", "-T", service, "python", "-c", asked).strip() == "no"


@pytest.fixture(scope="module")
def before(stack: Stack) -> dict[str, set[str]]:
    """The containers of each service before the stack grew."""
    return ids(stack)


@pytest.fixture(scope="module")
def grown(
    stack: Stack, before: dict[str, set[str]], tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    """The same stack while it runs on, with other settings, three notification workers, two
    gateways behind a proxy, and an SMSC.
    """
    settings = tmp_path_factory.mktemp("settings") / "settings.env"
    settings.write_text("AOI_LOG__LEVEL=debug\n")
    more = {
        "AOI_CHANNELS__SMS__HOST": "smsc",
        "COMPOSE_PROFILES": "sms,smsc,proxy",
        "PUBLISH_GATEWAY": "127.0.0.1:0",
        "PUBLISH_PROXY": stack.variables["PUBLISH_GATEWAY"],
        "SETTINGS_FILE": str(settings),
    }
    stack.up("--scale", "notification=3", "--scale", "gateway=2", more=more)
    return stack


def ids(stack: Stack) -> dict[str, set[str]]:
    """The containers of each service."""
    return {
        service: {str(each["Id"]) for each in found}
        for service, found in stack.containers().items()
    }


def test_other_settings_restart_the_workers_only(before: dict[str, set[str]], grown: Stack) -> None:
    """RabbitMQ and PostgreSQL run on in their containers, and every worker has the new setting."""
    after = ids(grown)
    assert {name: after[name] for name in SERVERS} == {name: before[name] for name in SERVERS}
    for service in WORKERS:
        assert after[service].isdisjoint(before[service])
        assert grown.compose("exec", "-T", service, "printenv", "AOI_LOG__LEVEL") == "debug\n"


async def test_gateways_scale_behind_a_proxy(grown: Stack) -> None:
    """With `--scale gateway=2` and the profile `proxy` devices reach both at the one port."""
    ask = (
        "import urllib.request\n"
        "print(urllib.request.urlopen('http://127.0.0.1:8091/metrics').read().decode())"
    )
    async with a_device(grown), a_device(grown):
        # The proxy chooses the gateway with fewer connections.
        for index in ("1", "2"):
            command = ("exec", "-T", "--index", index, "gateway", "python", "-c", ask)
            metrics = await asyncio.to_thread(grown.compose, *command)
            assert "\naoi_gateway_sessions 1.0\n" in metrics


async def test_a_worker_scales_by_starting_copies(grown: Stack) -> None:
    """With `--scale notification=3` three take from the queue, and everything is delivered."""
    containers = await asyncio.to_thread(grown.containers)
    assert [each["State"]["Health"]["Status"] for each in containers["notification"]] == [
        "healthy"
    ] * 3
    assert await asyncio.to_thread(grown.consumers, "aoi.notification") == 3
    async with await shop(grown) as publisher, a_device(grown) as inbox:
        texts = {f"number {number}" for number in range(30)}
        for text in sorted(texts):
            await publisher.send(inbox.token, text, timeout=WITHIN)
        assert {(await inbox.read()).content.data for _ in texts} == texts


async def test_sms_is_switched_on_by_naming_an_smsc(grown: Stack) -> None:
    """With an SMSC named a number is proved by a challenge, and bridges a cut connection."""
    radio = ScriptedSms()
    (smsc,) = (await asyncio.to_thread(grown.containers))["smsc"]
    following = await asyncio.create_subprocess_exec(
        *("docker", "logs", "--follow", smsc["Id"]), stdout=asyncio.subprocess.PIPE
    )
    assert following.stdout is not None

    async def listen(lines: asyncio.StreamReader) -> None:
        async for line in lines:
            message = json.loads(line)
            if message.get("number") == "+15550177":
                radio.receive(bytes.fromhex(message["user_data"]))

    listening = asyncio.create_task(listen(following.stdout))
    transport = CuttableTransport(WebSocketTransport(grown.gateway))
    try:
        async with (
            await shop(grown) as publisher,
            a_device(grown, number="+15550177", sms=radio, transport=transport) as inbox,
        ):
            transport.cut()
            await publisher.send(inbox.token, "Where are you?", timeout=WITHIN)
            notification = await inbox.read()
            assert (notification.content.data, notification.channel) == ("Where are you?", "sms")
            await transport.restore()
    finally:
        listening.cancel()
        following.terminate()
        await asyncio.gather(listening, following.wait(), return_exceptions=True)


def test_every_aoi_command_is_there(stack: Stack) -> None:
    """As documented, `exec deadlines aoi dead list` shows what was set aside: nothing."""
    listed = stack.compose("exec", "-T", "deadlines", "aoi", "dead", "list", "--json")
    assert json.loads(listed)["parked"] == []


async def test_a_parked_message_is_replayed(stack: Stack) -> None:
    """`exec deadlines aoi dead replay ID` lets another worker handle a parked message as its
    sender's; then it is no longer parked.
    """

    async def dead(*arguments: str) -> str:
        command = ("exec", "-T", "deadlines", "aoi", "dead", *arguments)
        return await asyncio.to_thread(stack.compose, *command)

    async def parked() -> list[dict[str, str]]:
        return list(json.loads(await dead("list", "--json"))["parked"])

    broker = await open_broker(stack.url("shop"))
    body = json.dumps({"version": 1, "notification": "unknown"}).encode()
    await broker.publish([Outbound(REQUESTS, "notification.status", body)])
    await broker.close()
    async with asyncio.timeout(WITHIN):
        while not (rows := await parked()):
            pass
    assert [(row["code"], row["sender"]) for row in rows] == [("reply_to_missing", "shop")]
    assert await dead("replay", rows[0]["id"]) == "replayed 1\n"
    assert await parked() == []


def test_workers_drain_when_they_are_stopped(stack: Stack) -> None:
    """`docker compose stop` ends every worker with exit code 0: drained, not killed."""
    stack.compose("stop", *sorted(WORKERS), within=90)
    containers = stack.containers()
    codes = {
        service: {each["State"]["ExitCode"] for each in containers[service]} for service in WORKERS
    }
    assert codes == {service: {0} for service in WORKERS}


def test_the_documented_commands_are_in_the_compose_file() -> None:
    """The compose file itself says how to start it, how to scale, and how to switch SMS on."""
    text = (COMPOSE / "compose.yaml").read_text()
    shown = block("docs/how-to/containers.md", "sh")
    told = re.findall(r"^docker compose -f compose/compose.yaml (.*?) +#", shown, re.MULTILINE)
    # Each of them is what the tests above run, by way of the same command line.
    assert told == [
        "up",
        "run --rm credentials url shop",
        "up --detach --scale notification=3",
        "exec deadlines aoi dead list",
        "down",
    ]
    for command in ("up", "up --detach --scale notification=3", "--profile sms up"):
        assert f"docker compose -f compose/compose.yaml {command}\n" in text
