"""What tests make on the shared servers can be made and removed by several processes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest

from aoi_events.testing.containers import PostgresServer, RabbitServer
from aoi_events.testing.ports import free_port

AT_ONCE = 8
ROUNDS = 10


def race(act: Callable[[], object]) -> list[object]:
    """What so many threads get that do the same at once; raises what any of them raises."""
    ready = Barrier(AT_ONCE)

    def run() -> object:
        ready.wait()
        return act()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [each.result() for each in [threads.submit(run) for _ in range(AT_ONCE)]]


def test_users_that_several_add_at_once(rabbit_server: RabbitServer, rabbit_vhost: str) -> None:
    """Each of them gets the user, with the same password and permissions."""
    for _ in range(ROUNDS):
        user = f"user-{uuid4().hex}"
        (url,) = set(race(lambda name=user: rabbit_server.add_user(rabbit_vhost, name)))  # type: ignore[misc]
        assert url == rabbit_server.url(rabbit_vhost, user=user)
        rights = rabbit_server.api("GET", f"/permissions/{rabbit_vhost}/{user}")
        assert (rights["configure"], rights["write"], rights["read"]) == (".*", ".*", ".*")
        rabbit_server.api("DELETE", f"/users/{user}")


def test_a_user_that_was_there_becomes_what_is_asked_for(
    rabbit_server: RabbitServer, rabbit_vhost: str
) -> None:
    """Password, tags and permissions of an existing user are set anew."""
    user = f"user-{uuid4().hex}"
    rabbit_server.api("PUT", f"/users/{user}", {"password": "other", "tags": "administrator"})
    rabbit_server.add_user(rabbit_vhost, user, configure="^$")
    assert rabbit_server.api("GET", f"/users/{user}")["tags"] == []
    assert rabbit_server.api("GET", f"/permissions/{rabbit_vhost}/{user}")["configure"] == "^$"
    rabbit_server.ctl("authenticate_user", user, user)
    rabbit_server.api("DELETE", f"/users/{user}")


def test_senders_that_several_add_at_once(rabbit_server: RabbitServer, rabbit_vhost: str) -> None:
    """A sender has no more permissions than it needs, not even for the moment of a race."""
    user = f"sender-{uuid4().hex}"

    def add() -> object:
        rabbit_server.add_sender(rabbit_vhost, user)
        return rabbit_server.api("GET", f"/permissions/{rabbit_vhost}/{user}")["configure"]

    for _ in range(ROUNDS):
        assert set(race(add)) == {rf"^aoi\.reply\.{user}\..*$"}
    rabbit_server.api("DELETE", f"/users/{user}")


def test_a_vhost_that_several_delete_at_once(rabbit_server: RabbitServer) -> None:
    """It is gone, and none of them complains."""
    vhost = rabbit_server.new_vhost()
    race(lambda: rabbit_server.delete_vhost(vhost))
    with pytest.raises(AssertionError, match="404"):
        rabbit_server.api("GET", f"/vhosts/{vhost}")


def test_databases_that_several_make_and_delete_at_once(postgres_server: PostgresServer) -> None:
    """Each gets a database of its own from one template; all may delete all of them."""
    made = race(lambda: asyncio.run(postgres_server.new_database(schema=True)))
    assert len(set(made)) == AT_ONCE

    def delete() -> None:
        for database in made:
            asyncio.run(postgres_server.delete_database(str(database)))

    race(delete)


async def test_a_database_is_deleted_under_its_sessions(postgres_server: PostgresServer) -> None:
    """Who is connected does not hold up its end."""
    database = await postgres_server.new_database()
    session = await psycopg.AsyncConnection.connect(postgres_server.url(database))
    await postgres_server.delete_database(database)
    with pytest.raises(psycopg.OperationalError):
        await session.execute("SELECT 1")
    await session.close()


def test_ports_are_given_once() -> None:
    """No port is given twice in a process."""
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == len(ports)
