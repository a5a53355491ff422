from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import Iterable
from typing import Any, Final

import pytest

from aoi_events import Publisher
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.requests import DeregisterApplicationV1
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import ErrorCode
from aoi_events.publishing import DeviceRequests
from tests.acceptance.audit import Audit
from tests.acceptance.device_pool import APPS, DevicePool
from tests.acceptance.hostile_devices import bad_frames, forbidden, say, throw
from tests.acceptance.hostile_requests import ask_all, cases, noise, pretend_to_be
from tests.acceptance.hostile_smsc import be_mad, talk_nonsense
from tests.acceptance.server_under_test import EVERY_KIND, ServerUnderTest, seeded
from tests.support.limits import WITHIN
from tests.support.processes import Workers
from tests.support.publishing_device import APPLICATION, Device

log = logging.getLogger(__name__)

CODES: Final = frozenset(ErrorCode)
INTERNAL: Final = re.compile(
    r"Traceback|\.py\b|site-packages|aoi_events[./]|SELECT |INSERT |sqlalchemy|psycopg|pydantic|"
    r"Error\(|127\.0\.0\.1|postgres|amqp://",
    re.IGNORECASE,
)
"""What an answer never holds: where our code is, what it is made of, what it keeps where."""


class Storm:
    """Two devices that registered, of which one is after the other's notifications."""

    def __init__(
        self, server: ServerUnderTest, victim: Device, attacker: Device, foreign: str
    ) -> None:
        self.server = server
        self.victim = victim
        self.attacker = attacker
        self.foreign = foreign
        self.said: list[str] = []
        """Everything that was answered, to anybody."""

    async def at_the_broker(self, rng: random.Random, revoked: str) -> None:
        """Every request that nobody may make gets its code, and noise gets one of them."""
        url = self.server.broker("shop")
        asked = [
            *cases(self.victim, self.attacker, revoked=revoked, foreign=self.foreign),
            *noise(rng, 300),
        ]
        rng.shuffle(asked)
        answers = await asyncio.to_thread(ask_all, url, asked, user="shop")
        self.said += [json.dumps(each.body) for each in answers]
        wrong = [
            (each.case.name, each.case.routing_key, each.body)
            for each in answers
            if each.case.codes and not each.codes & each.case.codes
        ]
        assert wrong == []
        assert {code for each in answers for code in each.codes} <= CODES
        assert ErrorCode.INTERNAL not in {code for each in answers for code in each.codes}
        assert await asyncio.to_thread(pretend_to_be, url, "aoi-gateway") == 406
        log.warning("%d hostile requests, %d answers", len(asked), len(answers))

    async def at_the_gateway(self, rng: random.Random) -> None:
        """Bad frames end their connection with a code of ours, requests get theirs."""
        url, port = self.server.gateways[0], self.server.ports[0]
        bad = bad_frames(rng)
        throwing = asyncio.create_task(throw(port, rng, 100))
        talks = await asyncio.gather(*(say(url, [frame]) for frame in bad))
        await throwing
        for frame, talk in zip(bad, talks, strict=True):
            self.said.append(json.dumps(talk.frames))
            # Who is still sending 10 MB may find the connection reset before it reads why.
            assert talk.closed in set(CloseCode) or len(frame) > 1_000_000, (frame, talk)
        for client, secret in (
            (self.victim.client, self.attacker.secret),
            (self.victim.client, "A" * 43),
            ("cli_" + "a" * 26, self.attacker.secret),
        ):
            talk = await say(
                url, [json.dumps({"type": "hello", "client": client, "secret": secret})]
            )
            assert talk.closed == CloseCode.UNAUTHENTICATED, talk
        asked = forbidden(self.victim, self.attacker, self.foreign)
        stolen = json.dumps({"type": "ack", "delivery": self.foreign})
        talk = await say(
            url,
            [stolen, *(frame for frame, _ in asked)],
            device=self.attacker,
            answers=len(asked),
        )
        self.said.append(json.dumps(talk.frames))
        codes = {number: answer["code"] for number, answer in talk.answers.items()}
        assert codes == {number: code for number, (_, code) in enumerate(asked)}
        flood = [json.dumps({"type": "request", "id": 1, "name": "bogus", "body": {}})] * 2_000
        assert (await say(url, flood, device=self.attacker)).closed == CloseCode.TOO_MANY

    async def at_the_smsc(self, rng: random.Random) -> None:
        """The SMSC loses its mind, and is replaced by a worse one for a while."""
        await talk_nonsense(self.server.smsc, rng)
        await be_mad(self.server.smsc, rng, connections=4)


def assert_unknown(secrets: Iterable[str], texts: Iterable[str]) -> None:
    """None of the secrets stands in any of the texts."""
    every = "\n".join(texts)
    assert [secret[:8] + "…" for secret in secrets if secret in every] == []


def logs(workers: Workers) -> list[dict[str, Any]]:
    """Every line of every worker."""
    return [entry for worker in workers.all for entry in worker.log]


@pytest.mark.timeout(600)
async def test_a_storm_of_bad_input_from_everywhere(server: ServerUnderTest) -> None:
    """Point "Bad input": at the broker, at a gateway and from the SMSC at once. Every answer has a
    stable code and nothing internal, no worker dies or logs an error, no log holds a secret, nobody
    gets at anything of others; and then all of it works as ever.
    """
    rng = seeded()
    async with (
        Audit(server.broker("audit")) as audit,
        server.workers([f"{kind}-1" for kind in EVERY_KIND]) as workers,
        DevicePool(server.gateways[:1], server.smsc) as pool,
        Publisher(server.broker("shop"), timeout=WITHIN) as publisher,
        DeviceRequests(server.broker("shop"), timeout=WITHIN) as requests,
    ):
        await pool.join(1)
        victim, attacker, gone = (Device(requests) for _ in range(3))
        for device in (victim, attacker, gone):
            await device.register()
            await device.activate()
        await deregister(gone)
        kept = await publisher.send(victim.token, "for the victim only", notification="kept")
        (foreign,) = (each.delivery for each in kept.deliveries)

        storm = Storm(server, victim, attacker, foreign)
        async with asyncio.TaskGroup() as group:
            group.create_task(storm.at_the_broker(rng, gone.token))
            group.create_task(storm.at_the_gateway(random.Random(rng.random())))
            group.create_task(storm.at_the_smsc(random.Random(rng.random())))

        # Nobody acknowledged or fetched what is the victim's, who gets it on return.
        (status,) = (await publisher.status("kept")).deliveries
        assert status.state is DeliveryState.STORED, status
        connected = asyncio.create_task(victim.connect(server.ports[0]))
        await audit.until_settled([foreign], within=WITHIN)
        connected.cancel()
        assert victim.received == ["for the victim only"]
        # A device that comes now registers, and proves its number by SMS; others go on.
        await pool.join(1)
        await pool.join(1, sms=False)
        tokens = [device.tokens[APPS[0]] for device in pool.devices]
        after = await publisher.send(tokens, "after the storm")
        await audit.until_settled([each.delivery for each in after.deliveries], within=WITHIN)
        assert [device.seen.total() for device in pool.devices] == [1, 1, 1]

        assert workers.running == workers.all
        assert set((await workers.drain()).values()) == {0}
    errors = [entry for entry in logs(workers) if entry.get("level") == "error"]
    assert errors == []
    assert [text for text in storm.said if INTERNAL.search(text)] == []
    secrets = [device.secret for device in (victim, attacker, gone)]
    hidden = [*secrets, *server.passwords.values(), *keys(server)]
    assert_unknown(hidden, storm.said)
    tokens += [device.token for device in (victim, attacker, gone)]
    assert_unknown([*hidden, *tokens], (json.dumps(entry) for entry in logs(workers)))
    (internal,) = await server.query("SELECT count(*) FROM parked WHERE code = 'internal'")
    assert internal["count"] == 0


async def deregister(device: Device) -> None:
    """The app of that device ends, and with it the token."""
    await device.requests.deregister_application(
        DeregisterApplicationV1(
            version=1,
            client=device.client,
            secret=device.secret,
            application=APPLICATION,
            sequence=9,
        )
    )


def keys(server: ServerUnderTest) -> list[str]:
    """The server's keys, as text."""
    body = json.loads(server.key_file.read_text())
    return [body["challenge"], *body["tokens"].values()]
