"""What happens to nodes, the store and processes; chance chooses to which."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from aoi_events.topology import NOTIFICATION
from tests.chaos.clustered_server import ClusteredServer
from tests.support.processes import Workers
from tests.support.rabbit_cluster import ClusterNode

log = logging.getLogger(__name__)

End = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to break."""

    server: ClusteredServer
    workers: Workers
    rng: Random

    @property
    def nodes(self) -> list[ClusterNode]:
        """The nodes of RabbitMQ."""
        return self.server.cluster.nodes

    def victims(self, count: int) -> list[ClusterNode]:
        """So many nodes, by chance."""
        chosen = self.rng.sample(self.nodes, count)
        log.warning("to %s", chosen)
        return chosen

    async def restart(self, *names: str) -> None:
        """``kill -9`` for these workers; new processes take their places."""
        await _kill(self, *names)
        await self.workers.start(*names)


@dataclass(frozen=True, slots=True)
class Fault:
    """``begin`` returns what ends it, ``lasts`` are the fewest and the most seconds between.

    ``flows``: a majority of nodes and the store stay, so deliveries must go on meanwhile.
    """

    name: str
    begin: Callable[[Scene], Awaitable[End]]
    lasts: tuple[float, float] = (0.0, 0.0)
    flows: bool = True


async def leader_killed(scene: Scene) -> End:
    """``kill -9`` for the node that leads the queue of notifications."""
    leader = await asyncio.to_thread(scene.server.cluster.leader, scene.server.vhost, NOTIFICATION)
    log.warning("to %s", leader)
    await asyncio.to_thread(leader.kill)
    return _later(leader.come_back)


async def node_paused(scene: Scene) -> End:
    """A node stops without a word."""
    (node,) = scene.victims(1)
    await asyncio.to_thread(node.pause)
    return _later(node.unpause)


async def two_parted(scene: Scene) -> End:
    """Two nodes do not reach each other, the third reaches both."""
    one, other = scene.victims(2)
    await asyncio.to_thread(one.cut_from, [other])
    return _later(one.heal)


async def one_parted(scene: Scene) -> End:
    """A node does not reach the two others, clients reach it; both sides notice at once."""
    (node,) = scene.victims(1)
    others = scene.server.cluster.others(node)
    await asyncio.to_thread(partial(node.cut_from, others, reset=True))
    return _later(node.heal)


async def cut_off(scene: Scene) -> End:
    """A node reaches no node and no client, and is silent."""
    (node,) = scene.victims(1)
    await asyncio.to_thread(node.cut_off)
    return _later(node.heal)


async def all_stopped(scene: Scene) -> End:
    """``kill -9`` for all nodes."""
    cluster = scene.server.cluster
    await asyncio.to_thread(cluster.each, ClusterNode.kill)

    def come_back() -> None:
        cluster.each(ClusterNode.come_back_later)
        cluster.wait_complete()

    return _later(come_back)


async def memory_alarm(scene: Scene) -> End:
    """A node uses more memory than it may: publishers are blocked on all nodes."""
    (node,) = scene.victims(1)
    await asyncio.to_thread(node.alarm_memory)
    return _later(node.end_alarms)


async def disk_alarm(scene: Scene) -> End:
    """A node has too little free disk space: publishers are blocked on all nodes."""
    (node,) = scene.victims(1)
    await asyncio.to_thread(node.alarm_disk)
    return _later(node.end_alarms)


async def store_killed(scene: Scene) -> End:
    """``kill -9`` for PostgreSQL."""
    await asyncio.to_thread(scene.server.postgres.kill)
    return _later(scene.server.postgres.come_back)


async def workers_killed(scene: Scene) -> End:
    """``kill -9`` for one process of each kind but gateways."""
    names = [
        f"{kind}-{scene.rng.choice((1, 2))}"
        for kind in sorted({worker.kind for worker in scene.workers.running} - {"gateway"})
    ]
    await _kill(scene, *names)
    return partial(scene.workers.start, *names)


async def gateway_killed(scene: Scene) -> End:
    """``kill -9`` for a gateway; its devices connect to the other."""
    name = scene.rng.choice(("gateway-1", "gateway-2"))
    await _kill(scene, name)
    return partial(scene.workers.start, name)


async def nodes_restarted(scene: Scene) -> End:
    """A rolling restart of RabbitMQ: one node after the other, in good order."""
    for node in scene.nodes:
        await asyncio.to_thread(node.restart)
        await asyncio.to_thread(scene.server.cluster.wait_complete)
    return _nothing


async def workers_restarted(scene: Scene) -> End:
    """A rolling restart of all workers: TERM, then a new process, one after the other."""
    for worker in scene.workers.running:
        worker.terminate()
        await worker.ended()
        await scene.workers.start(worker.name)
    return _nothing


FAULTS: Final = (
    Fault("leader killed", leader_killed, (5, 15)),
    Fault("node paused", node_paused, (20, 90)),
    # RabbitMQ with pause_minority stops both nodes.
    Fault("partition between two", two_parted, (80, 100), flows=False),
    Fault("one against two", one_parted, (15, 30)),
    Fault("node cut off", cut_off, (20, 90)),
    Fault("all nodes killed", all_stopped, (2, 10), flows=False),
    Fault("memory alarm", memory_alarm, (10, 25), flows=False),
    Fault("disk alarm", disk_alarm, (10, 25), flows=False),
    Fault("PostgreSQL killed", store_killed, (2, 15), flows=False),
    Fault("workers killed", workers_killed, (0, 3)),
    Fault("gateway killed", gateway_killed, (0, 3)),
    Fault("rolling restart, RabbitMQ", nodes_restarted),
    Fault("rolling restart, workers", workers_restarted),
)


def draw(rng: Random, count: int, only: str = "") -> list[Fault]:
    """So many faults whose name contains ``only``: each once before one comes again."""
    faults = [fault for fault in FAULTS if only in fault.name]
    if not faults:
        raise SystemExit(f"no fault is called {only!r}: {', '.join(each.name for each in FAULTS)}")
    drawn: list[Fault] = []
    while len(drawn) < count:
        drawn += rng.sample(faults, len(faults))
    return drawn[:count]


def _later(end: Callable[[], None]) -> End:
    return partial(asyncio.to_thread, end)


async def _nothing() -> None:
    pass


async def _kill(scene: Scene, *names: str) -> None:
    victims = [worker for worker in scene.workers.running if worker.name in names]
    for worker in victims:
        worker.kill()
    await asyncio.gather(*(worker.ended() for worker in victims))
