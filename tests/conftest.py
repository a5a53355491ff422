"""Containers that every kind of test can ask for; they start when the first test needs them."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from _pytest.logging import LogCaptureHandler
from hypothesis import HealthCheck, settings

from aoi_events.testing.containers import PostgresServer, RabbitServer
from tests.scheduling import ALONE, Scheduling, group_of

# How long an example takes says how busy the machine is, and nothing of the code. Where CI is set,
# a change is judged by the same examples each time; elsewhere every run looks for new ones.
settings.register_profile(
    "busy",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.register_profile("dates", settings.get_profile("busy"), max_examples=5)
settings.load_profile("busy")

pytest_plugins = [
    "pytester",
    "tests.another_day",
    "tests.support.commands",
    "tests.support.statements",
    "tests.without_containers",
]

# Projects of their own, which tests/acceptance runs against the wheel.
collect_ignore = ["sample_project", "own_channel"]

_FOR_ONE = {"own_rabbit_server", "own_postgres_server", "visitor"}
"""Fixtures of tests that want much of the machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that would disturb others is in the group of those that run one at a time."""
    for item in items:
        wants = _FOR_ONE.intersection(getattr(item, "fixturenames", ()))
        if wants and group_of(item.nodeid) != ALONE:
            raise pytest.UsageError(
                f"{item.nodeid} uses {', '.join(sorted(wants))}: name its file in scheduling.py"
            )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Runs what is in a group in one process, one after the other."""
    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that runs a command in this process leaves no handler and no level behind."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in handlers and not isinstance(handler, LogCaptureHandler):
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """The Docker engine, for fixtures and tests that start containers by themselves."""


@pytest.fixture(scope="session")
def rabbit_server(aoi_rabbitmq_server: RabbitServer) -> RabbitServer:
    """The RabbitMQ of this run: the plug-in's."""
    return aoi_rabbitmq_server


@pytest.fixture(scope="session")
def own_rabbit_server() -> Iterator[RabbitServer]:
    """A RabbitMQ for tests that stop it, starve it, or give its users other passwords."""
    server = RabbitServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def own_postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for tests that stop it."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def rabbit_vhost(rabbit_server: RabbitServer) -> Iterator[str]:
    """The name of a virtual host that only this test uses."""
    vhost = rabbit_server.new_vhost()
    yield vhost
    rabbit_server.delete_vhost(vhost)


@pytest.fixture
def rabbit_url(rabbit_server: RabbitServer, rabbit_vhost: str) -> str:
    """The URL of a virtual host that only this test uses."""
    return rabbit_server.url(rabbit_vhost)


@pytest.fixture(scope="session")
def postgres_server(aoi_postgres_server: PostgresServer) -> PostgresServer:
    """The PostgreSQL of this run: the plug-in's."""
    return aoi_postgres_server


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The SQLAlchemy URL of an empty database that only this test uses."""
    database = await postgres_server.new_database()
    yield postgres_server.url(database)
    await postgres_server.delete_database(database)


@pytest.fixture
async def upgraded_postgres_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The SQLAlchemy URL of a database with the schema that only this test uses."""
    database = await postgres_server.new_database(schema=True)
    yield postgres_server.url(database)
    await postgres_server.delete_database(database)
