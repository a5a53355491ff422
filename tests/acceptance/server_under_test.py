"""A server under test: worker processes, a virtual host, a database, keys, an SMSC, short waits."""

from __future__ import annotations

import json
import logging
import os
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, LiteralString, Self

import aio_pika
import psycopg
from psycopg.rows import DictRow, dict_row

from aoi_events.gateway.sockets.server import PATH
from aoi_events.testing.containers import PostgresServer, RabbitServer
from aoi_events.testing.ports import free_port
from aoi_events.testing.smsc import LoopbackSmsc
from aoi_events.topology import topology
from tests.support.processes import Worker, Workers

log = logging.getLogger(__name__)

EVERY_KIND: Final = (
    "registration",
    "activation",
    "notification",
    "gateway",
    "sms",
    "outcome",
    "deadlines",
)
_SHORT_WAITS: Final = {
    "AOI_CHANNELS__WEBSOCKET__ACK_WITHIN": "1.5",
    "AOI_CHANNELS__SMS__ACK_WITHIN": "3",
    "AOI_CHANNELS__SMS__CONNECT_TIME": "2",
    "AOI_CHANNELS__SMS__RECONNECT_MOST": "1",
    "AOI_POLICY__HOLD": "1.5",
    # A challenge that went down with its worker goes out again soon, and as often as that happens.
    "AOI_POLICY__CHALLENGE_AGAIN_AFTER": "8",
    "AOI_POLICY__CHALLENGES": "10",
    "AOI_POLICY__CHALLENGES_PER_ADDRESS": "20",
    "AOI_POLICY__RETRY_FIRST": "0.3",
    "AOI_POLICY__RETRY_MOST": "2",
    "AOI_GATEWAY__REQUEST_WITHIN": "4",
    "AOI_GATEWAY__PING_EVERY": "3",
    "AOI_GATEWAY__PONG_WITHIN": "2",
    "AOI_GATEWAY__TICK": "0.5",
}
_USERS: Final = ("aoi", "aoi-gateway", "aoi-endpoint", "shop", "audit")


@dataclass(frozen=True)
class ServerUnderTest:
    """``environment`` is what the workers are told; passwords are unlike any other text.

    ``waits`` are settings of times; those of a test are short, without them the defaults apply.
    """

    rabbit: RabbitServer
    postgres: PostgresServer
    vhost: str
    database: str
    smsc: LoopbackSmsc
    key_file: Path
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    passwords: Mapping[str, str] = field(
        default_factory=lambda: {user: f"pw-{secrets.token_hex(12)}" for user in _USERS}
    )
    waits: Mapping[str, str] = field(default_factory=lambda: _SHORT_WAITS)

    def add_users(self) -> Self:
        """Make the broker users."""
        for user, password in self.passwords.items():
            self.rabbit.api("PUT", f"/users/{user}", {"password": password, "tags": ""})
            rights = {"configure": ".*", "write": ".*", "read": ".*"}
            self.rabbit.api("PUT", f"/permissions/{self.vhost}/{user}", rights)
        return self

    def broker(self, user: str) -> str:
        """Where that user reaches the broker."""
        return self.rabbit.url(self.vhost, user=user, password=self.passwords[user])

    @property
    def gateways(self) -> tuple[str, ...]:
        """Where devices reach ``gateway-1`` and ``gateway-2``."""
        return tuple(f"ws://127.0.0.1:{port}{PATH}" for port in self.ports)

    @property
    def environment(self) -> dict[str, str]:
        """Settings of every worker but gateways."""
        return {
            **self.waits,
            "AOI_HEALTH__ENABLED": "false",
            "AOI_BROKER": self.broker("aoi"),
            "AOI_STORE": self.postgres.url(self.database),
            "AOI_KEY_FILE": str(self.key_file),
            "AOI_CHANNELS__SMS__HOST": self.smsc.host,
            "AOI_CHANNELS__SMS__PORT": str(self.smsc.port),
        }

    def workers(self, names: Sequence[str]) -> Workers:
        """Those processes; ``gateway-1`` and ``gateway-2`` have each its own port.

        What they warn of is logged here, too: should the test fail, pytest shows it.
        """
        special = {
            f"gateway-{number}": {
                "AOI_BROKER": self.broker("aoi-gateway"),
                "AOI_GATEWAY__PORT": str(port),
            }
            for number, port in enumerate(self.ports, 1)
        }
        return Workers(names, self.environment, special=special, hear=_tell, forked=True)

    async def query(self, statement: LiteralString, *values: object) -> list[DictRow]:
        """What the store says."""
        url = self.postgres.url(self.database)
        async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
            return await (await connection.execute(statement, values)).fetchall()

    async def waiting(self) -> dict[str, int]:
        """Queues of the workers that hold messages; exact once nobody consumes them."""
        connection = await aio_pika.connect(self.broker("audit"))
        async with connection, connection.channel() as amqp_channel:
            counts: dict[str, int] = {}
            for queue in topology(["sms"]).queues:
                declared = await amqp_channel.declare_queue(queue.name, passive=True)
                counts[queue.name] = declared.declaration_result.message_count or 0
        return {name: count for name, count in counts.items() if count}


def seeded() -> random.Random:
    """Chance that can be had again: a failure shows the seed to set ``AOI_TEST_SEED`` to."""
    seed = int(os.environ.get("AOI_TEST_SEED") or random.randrange(2**32))
    log.warning("AOI_TEST_SEED=%d", seed)
    return random.Random(seed)


def _tell(worker: Worker, entry: dict[str, Any]) -> None:
    if entry.get("level") in ("warning", "error"):
        log.warning("%s: %s", worker, json.dumps(entry))
