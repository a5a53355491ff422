"""What pauses a worker: each fault of broker, store or settings, wherever in a batch it occurs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aoi_events.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InfrastructureError,
    Overtaken,
    PolicyRefused,
    ProviderUnavailable,
    PublishRefused,
    StoreUnavailable,
)
from aoi_events.ports.broker import Outbound
from aoi_events.topology import OUTCOME, Queue, Topology, quarantine_of
from tests.integration.services.one_worker import Bench

LATER = Queue("later")
FULL = Queue("full", max_length_bytes=1)


def every(kind: type[Exception]) -> Iterator[type[Exception]]:
    """The class and those that derive from it."""
    yield kind
    for derived in kind.__subclasses__():
        yield from every(derived)


FAULTS = [*every(InfrastructureError), *every(ConfigurationError)]


def fault_of(kind: type[Exception]) -> Exception:
    """An example of the class."""
    if kind is PolicyRefused:
        return PolicyRefused("policy.toml", [("retry", "is no number")])
    return kind("the test took it away")


async def paused(bench: Bench) -> None:
    """Return when the worker pauses; a message that arrives now stays in the queue, for others."""
    await bench.clock.somebody_sleeps()
    await bench.send("meanwhile")
    assert bench.server.waiting(OUTCOME) == 1, "the worker still consumes"
    assert list(await bench.parked()) == []


def test_the_faults_are_all_there() -> None:
    """The parameters below are collected from the class tree; these are certainly among them."""
    assert {
        BrokerUnavailable,
        PublishRefused,
        StoreUnavailable,
        Overtaken,
        ProviderUnavailable,
        ConfigurationError,
        PolicyRefused,
    } <= set(FAULTS)


@pytest.mark.parametrize("kind", FAULTS)
async def test_each_kind_of_fault_pauses_and_parks_nothing(
    bench: Bench, kind: type[Exception]
) -> None:
    """No fault of broker, store or settings parks a message: the worker stops consuming, and when
    the fault has passed the batch is handled as a whole.
    """
    bench.handler.fault = fault_of(kind)
    bench.handler.store_is_up.clear()
    await bench.send("a", "b")
    await bench.start()
    await paused(bench)
    bench.handler.store_is_up.set()
    await bench.patience_passes()
    assert await bench.echoed(3) == ["a", "b", "meanwhile"]
    assert bench.handler.batches[:2] == [["a", "b"]] * 2
    assert bench.parking.tried == 0


async def test_a_publish_that_comes_back_pauses(bench: Bench) -> None:
    """The queue of an output is missing, so the broker returns the publish: nothing is acknowledged
    or parked, and the output is published when the queue is declared.
    """
    bench.handler.to = LATER.name
    await bench.send("a")
    await bench.start()
    await paused(bench)
    await bench.broker.declare(Topology((), (LATER,)))
    await bench.patience_passes()
    await bench.handler.calls(3)
    assert bench.handler.batches == [["a"], ["a"], ["meanwhile"]]
    assert bench.handler.again == [False, True, False]
    await bench.end()
    assert bench.server.waiting(LATER.name) == 2
    assert bench.parking.tried == 0


async def test_a_publish_that_a_full_queue_refuses_pauses(bench: Bench) -> None:
    """The broker refuses the publish (a nack), and takes it when there is room."""
    await bench.broker.declare(Topology((), (FULL,)))
    await bench.sender.publish([Outbound("", FULL.name, b"as much as it takes")])
    bench.handler.to = FULL.name
    await bench.send("a")
    await bench.start()
    await paused(bench)
    bench.handler.to = "echo"
    await bench.patience_passes()
    assert await bench.echoed(2) == ["a", "meanwhile"]
    assert bench.parking.tried == 0


async def test_a_store_that_is_away_while_items_are_handled_alone_pauses(bench: Bench) -> None:
    """A batch breaks and is handled item by item: a fault of the store there parks none of the
    items; only the one with the bug is parked, in the end.
    """
    bench.handler.broken = bench.handler.store_is_up.clear
    await bench.send("a", "break")
    await bench.start()
    await paused(bench)
    bench.handler.broken = lambda: None
    bench.handler.store_is_up.set()
    await bench.patience_passes()
    assert sorted(await bench.echoed(3)) == ["a", "abandoned break", "meanwhile"]
    (parked,) = await bench.parked()
    assert parked.body == b"break"


@pytest.mark.parametrize("body", ["refuse me", "break reading", "break"])
async def test_a_store_that_cannot_park_pauses(bench: Bench, body: str) -> None:
    """What cannot be parked now is not acknowledged, and parked once the store is back; so it is
    with what cannot be read and with what cannot be handled.
    """
    bench.parking.fault = StoreUnavailable("the test took it away")
    await bench.send(body)
    await bench.start()
    await paused(bench)
    bench.parking.fault = None
    await bench.patience_passes()
    await bench.until_echoed("meanwhile")
    (parked,) = await bench.parked()
    assert parked.body == body.encode()
    assert bench.parking.tried == 2


async def test_what_follows_a_parked_message_is_published_before_the_acknowledgement(
    bench: Bench,
) -> None:
    """The message is parked, and the broker does not take what must be published because of that:
    the worker pauses and publishes it later; the message is parked once.
    """
    bench.handler.to = LATER.name
    await bench.send("break")
    await bench.start()
    await bench.clock.somebody_sleeps()
    assert len(await bench.parked()) == 1
    bench.handler.to = "echo"
    await bench.patience_passes()
    assert await bench.echoed(1) == ["abandoned break"]
    assert len(await bench.parked()) == 1


async def test_a_suspect_is_moved_to_quarantine_once(bench: Bench) -> None:
    """However often the rest of its batch is tried while the store is away, a suspect is published
    to the quarantine once and leaves the worker queue.
    """
    bench.handler.store_is_up.clear()
    await bench.fail_twice("suspect")
    await bench.send("a")
    await bench.start()
    while bench.handler.batches.count(["a"]) < 4:
        await bench.patience_passes()
    await bench.end()
    await bench.broker.close()
    assert bench.server.waiting(quarantine_of(OUTCOME)) == 1
    assert bench.server.waiting(OUTCOME) == 1


async def test_each_pause_is_longer_up_to_five_seconds(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker waits 0.1, 0.2, 0.4 … seconds, 5 at most, and up to half a second more."""
    bench.handler.store_is_up.clear()
    await bench.send("a")
    await bench.start()
    for tries in range(1, 9):
        await bench.handler.calls(tries)
        await bench.patience_passes()
    bench.handler.store_is_up.set()
    assert await bench.echoed(1) == ["a"]
    told = [record.__dict__ for record in caplog.records if record.getMessage() == "paused"]
    seconds = [line["seconds"] for line in told]
    least = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert all(low <= found <= low + 0.5 for low, found in zip(least, seconds, strict=True))
