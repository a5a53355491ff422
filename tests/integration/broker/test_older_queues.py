from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterator

import pytest

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.broker.rabbitmq.declare import CONSUMER_TIMEOUT
from aoi_events.errors import ConfigurationError
from aoi_events.ports.broker import Outbound
from aoi_events.testing.containers import RabbitServer
from aoi_events.topology import DEAD_LETTERS, OUTCOME, WORKER_DELIVERY_LIMIT, topology, worker_queue
from tests.support.limits import WITHIN
from tests.support.pages import block

ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-delivery-limit": WORKER_DELIVERY_LIMIT,
    "x-dead-letter-exchange": DEAD_LETTERS,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
"""A worker queue as version 0.1 declares it."""

COMPARE = """
{ok, {_, [{abstract_code, {_, Forms}}]}} =
    beam_lib:chunks(code:which(rabbit_quorum_queue), [abstract_code]),
Named = fun Named("x-queue-leader-locator") -> "x-consumer-timeout";
            Named(Tuple) when is_tuple(Tuple) -> list_to_tuple(Named(tuple_to_list(Tuple)));
            Named([First | Rest]) -> [Named(First) | Named(Rest)];
            Named(Other) -> Other
        end,
Changed = [case Form of {function, _, capabilities, 0, _} -> Named(Form); _ -> Form end
           || Form <- Forms],
{ok, Module, Code, _} = compile:forms(Changed, [return]),
{module, Module} = code:load_binary(Module, "compares x-consumer-timeout", Code),
ok.
"""
"""Makes a node compare the argument ``x-consumer-timeout`` of quorum queues, as later ones do."""


@pytest.fixture(scope="session")
def rabbit_server(own_rabbit_server: RabbitServer) -> RabbitServer:
    """One that may be changed."""
    return own_rabbit_server


@pytest.fixture(params=["as it is", "compares"])
def older_queue(
    request: pytest.FixtureRequest, rabbit_server: RabbitServer, rabbit_vhost: str
) -> Iterator[None]:
    """A worker queue of version 0.1, also on a node that compares the argument it lacks."""
    path = f"/queues/{rabbit_vhost}/{OUTCOME}"
    rabbit_server.api("PUT", path, {"durable": True, "arguments": ARGUMENTS})
    if request.param == "as it is":
        yield
        return
    rabbit_server.ctl("eval", COMPARE)
    newer = {"durable": True, "arguments": ARGUMENTS | {"x-consumer-timeout": 1}}
    refused = rabbit_server.api("PUT", path, newer, besides=(400,))
    assert "inequivalent arg 'x-consumer-timeout'" in refused["reason"]
    yield
    rabbit_server.ctl(
        "eval", "code:purge(rabbit_quorum_queue), code:load_file(rabbit_quorum_queue)."
    )


@pytest.mark.usefixtures("older_queue")
async def test_an_older_queue_is_used_as_it_is(rabbit_url: str) -> None:
    """A queue without a timeout for consumers is no reason to refuse work after an upgrade."""
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(topology())
    await broker.publish([Outbound("", OUTCOME, b"taken")])
    work = await broker.subscribe(worker_queue(OUTCOME)[0], prefetch=1)
    async with asyncio.timeout(WITHIN):
        (message,) = await work.take(1)
    assert message.body == b"taken"
    await broker.close()


@pytest.mark.usefixtures("older_queue")
@pytest.mark.parametrize("older_queue", ["as it is"], indirect=True)
def test_the_documented_policy_gives_an_older_queue_the_time(
    rabbit_server: RabbitServer, rabbit_vhost: str
) -> None:
    """The command of the page on upgrades reaches the queue, and says what new queues say."""
    command = shlex.split(block("docs/operations/upgrading.md", "sh", "Queues of 0.1"))
    command[command.index("aoi", 1)] = rabbit_vhost
    rabbit_server.ctl(*command[1:])
    listed = ("list_queues", "--vhost", rabbit_vhost, "--formatter", "json")
    (queue,) = json.loads(rabbit_server.ctl(*listed, "effective_policy_definition"))
    assert queue["effective_policy_definition"] == [["consumer-timeout", CONSUMER_TIMEOUT]]


@pytest.mark.usefixtures("older_queue")
@pytest.mark.parametrize("older_queue", ["compares"], indirect=True)
@pytest.mark.parametrize(
    "other, named",
    [
        ({"x-delivery-limit": 7}, "'x-delivery-limit'"),
        ({"x-delivery-limit": 7, "x-consumer-timeout": CONSUMER_TIMEOUT}, "'x-delivery-limit'"),
        ({"x-consumer-timeout": 1}, f"'x-consumer-timeout'.* received .*'{CONSUMER_TIMEOUT}'"),
    ],
    ids=["limit", "limit and timeout", "timeout"],
)
async def test_the_error_names_the_argument_that_differs(
    rabbit_server: RabbitServer,
    rabbit_vhost: str,
    rabbit_url: str,
    other: dict[str, int],
    named: str,
) -> None:
    """A queue that was declared with another limit, or with another timeout than ours, is refused
    for that, whether or not it has a timeout.
    """
    path = f"/queues/{rabbit_vhost}/{OUTCOME}"
    rabbit_server.api("DELETE", path)
    rabbit_server.api("PUT", path, {"durable": True, "arguments": ARGUMENTS | other})
    broker = await RabbitBroker.connect(rabbit_url)
    with pytest.raises(ConfigurationError, match=named):
        await broker.declare(topology())
    await broker.close()
