"""A server under test on three RabbitMQ nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aoi_events.bootstrap.keys import create_key_file
from aoi_events.testing.containers import PostgresServer
from aoi_events.testing.smsc import LoopbackSmsc
from tests.acceptance.server_under_test import EVERY_KIND, ServerUnderTest
from tests.support.rabbit_cluster import RabbitCluster

COPIES: Final = tuple(f"{kind}-{copy}" for kind in EVERY_KIND for copy in (1, 2))
"""Two processes of each worker."""


@dataclass(frozen=True, kw_only=True)
class ClusteredServer(ServerUnderTest):
    """``rabbit`` is one of the nodes of ``cluster``. Times are the product's defaults."""

    cluster: RabbitCluster

    def brokers(self, user: str, *, first: int) -> list[str]:
        """Where that user reaches each node, beginning with the one of that number, modulo 3."""
        nodes = self.cluster.nodes
        return [
            nodes[(first + place) % len(nodes)].url(
                self.vhost, user=user, password=self.passwords[user]
            )
            for place in range(len(nodes))
        ]

    def broker(self, user: str) -> str:
        """Where that user reaches the cluster: one URL that lists the nodes."""
        first, *others = self.brokers(user, first=0)
        hosts = ",".join(urlsplit(url).netloc.rpartition("@")[2] for url in others)
        netloc = urlsplit(first).netloc
        return first.replace(netloc, f"{netloc},{hosts}", 1)


@asynccontextmanager
async def clustered_server(
    cluster: RabbitCluster, postgres: PostgresServer, folder: Path
) -> AsyncIterator[ClusteredServer]:
    """An empty virtual host on a cluster, an empty database with its schema, keys, and an SMSC.

    Cluster and database server are of this run alone: they go with what is on them.
    """
    node = cluster.nodes[0]
    vhost = await asyncio.to_thread(node.new_vhost)
    database = await postgres.new_database(schema=True)
    key_file = folder / "keys.json"
    create_key_file(key_file)
    async with LoopbackSmsc() as smsc:
        server = ClusteredServer(
            node, postgres, vhost, database, smsc, key_file, waits={}, cluster=cluster
        )
        await asyncio.to_thread(server.add_users)
        yield server
