"""The metrics port: what workers, gateway, store and broker tell whoever counts.

One call per batch where it is hot. Nothing here can fail, waits, or keeps what it is given; what
is a label and what is not, the implementation decides (:mod:`aoi_events.telemetry.prometheus`):
texts that come from outside may be passed as they are. Whoever is given no metrics counts nothing
(:data:`NO_METRICS`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from aoi_events.domain.delivery.machine import Delivery
from aoi_events.domain.providers.breaker import Breaker
from aoi_events.ports.broker import Outbound, Published
from aoi_events.ports.channel import Sent

__all__ = [
    "BrokerMetrics",
    "Change",
    "EndpointMetrics",
    "GatewayMetrics",
    "Level",
    "Limit",
    "Metrics",
    "StoreMetrics",
    "WorkerMetrics",
]

Change = tuple[Delivery | None, Delivery]
"""A delivery before and after a transaction that was committed; None: it is new."""


class Level(StrEnum):
    """What is read when somebody asks, rather than counted."""

    CONNECTIONS = "connections"
    """Connections of devices to this gateway, handshakes not counted."""
    SESSIONS = "sessions"
    """Of these, those of clients that were admitted."""
    OUTBOX = "outbox"
    """Outcomes that wait for the broker's confirm."""
    SENDERS = "senders"
    """Connections of senders to this endpoint."""
    WAITING = "waiting"
    """Requests of senders that wait for an answer of the workers."""
    POOL = "pool"
    """Connections to the store that are in use."""


class Limit(StrEnum):
    """Which limit of the gateway refused something."""

    CONNECTIONS = "connections"
    CONNECTIONS_PER_ADDRESS = "connections_per_address"
    ENTRIES = "entries"
    """Hellos and registrations of one address."""
    REQUESTS_WAITING = "requests_waiting"


class WorkerMetrics(Protocol):
    """What the workers tell."""

    def batch(
        self, queue: str, message_ids: Sequence[str | None]
    ) -> AbstractContextManager[object]:
        """A batch of ``queue`` was taken, oldest first; the block is its handling up to the ack.

        A block that ends in an exception was not handled, and is not counted.
        """

    def published(self, outputs: Iterable[Outbound], now: datetime) -> None:
        """All of these left, or need not: what their notes say has happened by ``now``."""

    def unanswered(self, requests: Iterable[str]) -> None:
        """Requests (routing keys) were handled for whose answer nobody waits."""

    def deliveries(self, changes: Iterable[Change]) -> None:
        """Deliveries changed, and that is committed: tell it once for each transaction."""

    def outcomes(self, outcomes: Iterable[tuple[str, str | None]]) -> None:
        """Kind and channel of outcomes that were taken."""

    def parked(self, queue: str, codes: Iterable[str]) -> None:
        """Messages of ``queue`` were set aside, with these codes."""

    def due(self, kind: str, rows: int, lags: Iterable[float] = ()) -> None:
        """Rows were taken whose deadline had come, some of them so many seconds before."""

    def submitted(self, channel: str, results: Iterable[Sent]) -> None:
        """Items were handed to a provider, with these results."""

    def watch_window(self, channel: str, in_use: Callable[[], int]) -> None:
        """How many of a provider's window are in use is to be asked there."""

    def watch_breakers(self, channel: str, in_trouble: Callable[[], Mapping[str, Breaker]]) -> None:
        """The breakers of a channel's providers that are not closed are to be asked for there."""

    def policy_reloaded(self, result: str) -> None:
        """The operator's policy file had changed, and was ``taken`` or ``refused``."""


class GatewayMetrics(Protocol):
    """What a gateway tells."""

    def batch(
        self, queue: str, message_ids: Sequence[str | None]
    ) -> AbstractContextManager[object]:
        """As the workers' batches."""

    def frame_received(self) -> None:
        """A device sent a frame, of whatever kind."""

    def frame_sent(self) -> None:
        """A frame was written to a device."""

    def closed(self, by: str | None, code: int | None) -> None:
        """A WebSocket ended. ``by``: ``server`` or ``device``, who sent the close frame with
        ``code`` first; both None: nobody did.
        """

    def refused(self, limit: Limit) -> None:
        """A limit refused something."""

    def gave_up(self) -> None:
        """An outcome was given up: too many waited for the broker."""

    def watch(self, levels: Mapping[Level, Callable[[], int]]) -> None:
        """Levels are to be asked there."""


class EndpointMetrics(Protocol):
    """What an endpoint tells."""

    def answered(self, method: str, path: str, status: int | None, seconds: float | None) -> None:
        """An HTTP request was answered; no ``status``: it went away before. ``seconds`` since its
        head was complete; None: it never was.
        """

    def watch(self, levels: Mapping[Level, Callable[[], int]]) -> None:
        """Levels are to be asked there."""


class StoreMetrics(Protocol):
    """What the store tells."""

    def transaction(self, *, read_only: bool) -> AbstractContextManager[object]:
        """The block is one transaction, the wait for its connection and its commit included."""

    def watch(self, levels: Mapping[Level, Callable[[], int]]) -> None:
        """Levels are to be asked there."""


class BrokerMetrics(Protocol):
    """What a connection to the broker tells."""

    def confirmed(self, results: Sequence[Published]) -> None:
        """What the broker said to publishes."""

    def uncertain(self, publishes: int) -> None:
        """So many publishes may have arrived or not."""

    def reconnected(self, purpose: str) -> None:
        """A connection that was lost is up again; ``purpose``: ``consuming`` or ``publishing``."""


class Metrics(
    WorkerMetrics, GatewayMetrics, EndpointMetrics, StoreMetrics, BrokerMetrics, Protocol
):
    """All of them, of one process or installation."""
