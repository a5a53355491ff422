from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aoi_events.testing.containers import PostgresServer
from tests.acceptance.server_under_test import seeded
from tests.chaos.clustered_server import clustered_server
from tests.chaos.faults import Fault, leader_killed, one_parted
from tests.chaos.run import Load, run
from tests.support.rabbit_cluster import RabbitCluster


@pytest.fixture
def cluster() -> Iterator[RabbitCluster]:
    """Three nodes for a test that breaks them.

    With Khepri, nodes that were parted join again by themselves, and the queue of a gateway may be
    gone while its connection lives.
    """
    with RabbitCluster(khepri=True) as cluster:
        yield cluster


@pytest.mark.timeout(600)
async def test_a_partition_and_a_killed_leader_leave_no_device_in_the_dark(
    cluster: RabbitCluster, own_postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """A partition between nodes is healed, then a leader is killed: every device is served again
    without a person, nothing is lost, and no app is shown anything twice.
    """
    faults = (Fault("partition", one_parted), Fault("leader killed", leader_killed))
    async with clustered_server(cluster, own_postgres_server, tmp_path) as server:
        outcome = await run(server, faults, seeded(), Load(devices=12, rate=24, calm=0))
    assert [recovery.dark for recovery in outcome.recoveries] == [0, 0], outcome.recoveries
    assert outcome.verdict.accepted == outcome.verdict.confirmed
    assert not outcome.verdict.lost
    assert not outcome.verdict.doubled
    assert not outcome.verdict.other_event
    assert not outcome.ended
