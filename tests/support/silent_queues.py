"""Queues of RabbitMQ that go silent, as on a node that hangs: nothing for them is confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aoi_events.testing.containers import RabbitServer

_PROCESSES: Final = (
    "[{}(amqqueue:get_pid(Queue)) || Queue <- rabbit_amqqueue:list(), "
    'element(4, amqqueue:get_name(Queue)) =:= <<"{}">>].'
)
"""Calls a function for the process of every queue of that name, in whatever virtual host."""


@contextmanager
def silent(server: RabbitServer, queue: str) -> Iterator[None]:
    """The queue confirms nothing; all others do."""
    server.ctl("eval", _PROCESSES.format("sys:suspend", queue))
    try:
        yield
    finally:
        server.ctl("eval", _PROCESSES.format("sys:resume", queue))


def stop_channels(server: RabbitServer) -> None:
    """The channels that are open now do nothing any more; their connections show life."""
    server.ctl("eval", "[sys:suspend(Channel) || Channel <- rabbit_channel:list_local()].")


def kill(server: RabbitServer, queue: str) -> None:
    """The queue is gone, as that of a node that is declared down."""
    server.ctl("eval", _PROCESSES.format("(fun(Pid) -> exit(Pid, kill) end)", queue))
