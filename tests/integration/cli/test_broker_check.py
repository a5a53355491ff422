"""``aoi broker check``, and what a start says of queues that are on too few nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import encode_basic_auth, web
from aiohttp.test_utils import TestServer

from aoi_events.bootstrap.members import members_of, warn_of_few_members
from aoi_events.bootstrap.settings import load_settings
from aoi_events.errors import InfrastructureError
from aoi_events.testing.containers import RabbitServer
from aoi_events.topology import topology
from tests.support.commands import Cli

Members = dict[str, int]
Management = Callable[[int, Members], str]


@pytest.fixture
async def management() -> AsyncIterator[Management]:
    """Makes the management API of a cluster, of so many nodes and with these members of queues."""
    nodes: list[str] = []
    members: Members = {}

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != encode_basic_auth("watch", "hidden"):
            return web.json_response({"error": "not_authorized"}, status=401)
        if request.path == "/api/nodes":
            return web.json_response([{"name": node} for node in nodes])
        if not request.raw_path.startswith("/api/queues/a%2Fb?"):
            return web.json_response({"somebody": "else"})
        return web.json_response(
            [
                {"name": name, "type": "quorum", "members": nodes[:number]}
                for name, number in members.items()
            ]
            + [{"name": "aoi.gateway.x", "type": "classic"}]
        )

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:

        def make(number: int, of: Members) -> str:
            nodes[:] = [f"rabbit@{each}" for each in range(number)]
            members.clear()
            members.update(of)
            return f"http://watch:hidden@127.0.0.1:{server.port}"

        yield make


@pytest.mark.parametrize(
    "nodes, members, few",
    [
        (1, {"aoi.dead": 1}, []),
        (3, {"aoi.dead": 3, "aoi.outcome": 1, "somebody.else": 1}, ["aoi.outcome"]),
        (3, {"aoi.outcome": 2, "aoi.dead": 1}, ["aoi.dead", "aoi.outcome"]),
        (5, {"aoi.dead": 3, "aoi.outcome": 5}, []),
    ],
)
async def test_a_start_names_queues_on_too_few_nodes(
    management: Management,
    caplog: pytest.LogCaptureFixture,
    nodes: int,
    members: Members,
    few: list[str],
) -> None:
    """Those of the installation with fewer than three members, or fewer than there are nodes, stand
    in one warning that says how to grow them.
    """
    url = management(nodes, members)
    settings = load_settings(broker="amqp://u:p@x,y/a%2Fb", broker_management=url)
    with caplog.at_level(logging.INFO):
        await warn_of_few_members(settings, topology())
    said = [vars(each) for each in caplog.records if each.name.startswith("aoi_events")]
    assert [(each["msg"], each["queues"]) for each in said] == (
        [("queues_with_few_members", few)] if few else []
    )
    assert all("rabbitmq-queues grow NODE all" in each["hint"] for each in said)


@pytest.mark.parametrize(
    "user, reason", [("watch:wrong", "the tag monitoring"), ("", "Cannot connect to host")]
)
async def test_a_start_goes_on_where_it_cannot_look(
    management: Management, caplog: pytest.LogCaptureFixture, user: str, reason: str
) -> None:
    """A wrong password, or no management API there, is one warning, without the password."""
    url = management(3, {})
    url = url.replace("watch:hidden", user) if user else "http://watch:wrong@127.0.0.1:1"
    settings = load_settings(broker="amqp://u:p@x/a%2Fb", broker_management=url)
    await warn_of_few_members(settings, topology())
    (record,) = caplog.records
    assert record.getMessage() == "queue_members_unknown"
    assert reason in vars(record)["error"]
    assert "wrong" not in vars(record)["error"]


async def test_another_server_there_is_named(management: Management) -> None:
    """It answers with JSON of another form: one line says which address that is."""
    url = management(3, {}) + "/"
    settings = load_settings(broker="amqp://u:p@x/other", broker_management=url)
    with pytest.raises(InfrastructureError, match="is not RabbitMQ's management"):
        await members_of(settings, topology())


async def test_the_command_asks_a_broker(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    rabbit_server: RabbitServer,
    rabbit_url: str,
    management: Management,
) -> None:
    """One node is enough for a RabbitMQ that has no other; the command fails where queues have too
    few members, and names the setting that it needs.
    """
    monkeypatch.setenv("AOI_BROKER", rabbit_url)
    ran = await asyncio.to_thread(cli, "broker", "check")
    assert ran.code == 78
    assert "set AOI_BROKER_MANAGEMENT to http://USER:PASSWORD@HOST:15672" in ran.err
    own = f"http://guest:guest@127.0.0.1:{rabbit_server._management}"
    monkeypatch.setenv("AOI_BROKER_MANAGEMENT", own)
    ran = await asyncio.to_thread(cli, "broker", "check")
    assert ran.code == 1
    assert "there is no aoi.activation" in ran.err
    assert (await asyncio.to_thread(cli, "broker", "declare")).code == 0
    ran = await asyncio.to_thread(cli, "broker", "check")
    assert (ran.code, ran.err) == (0, "")
    assert "queues have as many members as they should" in ran.out
    monkeypatch.setenv("AOI_BROKER", "amqp://u:p@x/a%2Fb")
    monkeypatch.setenv("AOI_BROKER_MANAGEMENT", management(3, {"aoi.dead": 1}))
    ran = await asyncio.to_thread(cli, "broker", "check")
    assert ran.code == 1
    assert "too few nodes have aoi.dead; run for each node" in ran.err
