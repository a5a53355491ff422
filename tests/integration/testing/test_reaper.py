"""The reaper removes what carries a lease's label when the last process with the lease is gone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from aoi_events.testing.containers import PostgresServer
from aoi_events.testing.reaper import Lease
from aoi_events.testing.sharing import SharedServers
from tests.support.engine import Engine

KEY = "aoi-events.testing"

pytestmark = pytest.mark.containers


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The Docker engine, watched since the start of the test."""
    engine = Engine()
    yield engine
    engine.close()


def test_everything_with_the_label_goes_with_the_lease(engine: Engine) -> None:
    """Containers, networks and volumes go, those that the engine makes late too; others stay."""
    name = f"test-{secrets.token_hex(8)}"
    lease = Lease(f"{KEY}={name}")
    container, other = engine.create(**{KEY: name}), engine.create(**{KEY: f"{name}-not"})
    network = engine.client.networks.create(name, labels={KEY: name})
    volume = engine.client.volumes.create(name, labels={KEY: name})
    lease.give_up()
    try:
        engine.until_removed(container)
        next(engine.happened("destroy", type="network", network=network.id))
        next(engine.happened("destroy", type="volume", volume=volume.id))
        # What the engine finishes after the end of the process that asked for it.
        engine.until_removed(engine.create(**{KEY: name}))
        assert engine.there(other)
    finally:
        engine.client.containers.get(other).remove()


def test_a_lease_lasts_as_long_as_its_last_user(engine: Engine, tmp_path: Path) -> None:
    """A process that joined keeps it; when all are gone, nothing is left to join."""
    name = f"test-{secrets.token_hex(8)}"
    lease = Lease(f"{KEY}={name}")
    joined = Lease.joined(lease.path)
    container = engine.create(**{KEY: name})
    lease.give_up()
    third = Lease.joined(lease.path)
    joined.give_up()
    assert engine.there(container)
    third.give_up()
    engine.until_removed(container)
    with pytest.raises(FileNotFoundError):
        Lease.joined(lease.path)


def test_a_server_whose_users_all_died_is_started_anew(tmp_path: Path) -> None:
    """A process that comes later (pytest-xdist replaces one that died) starts another server."""
    folder = tmp_path / "servers"
    servers, server = SharedServers(folder), PostgresServer()
    gone = {"container": "gone", "port": "1", "lease": str(tmp_path / "gone.lease")}
    (folder / "postgres.json").write_text(json.dumps(gone))
    servers.use(server, "postgres")
    try:
        server.wait_ready()
        assert json.loads((folder / "postgres.json").read_text()) == server.known()
    finally:
        servers.close()


def test_stopping_twice_and_what_is_gone_already(engine: Engine) -> None:
    """A server that was removed by others, or stopped before, is stopped without complaint."""
    server = PostgresServer()
    server.stop()
    server.start()
    container = server.known()["container"]
    engine.client.containers.get(container).remove(force=True, v=True)
    server.stop()
    server.stop()
    assert not engine.there(container)
