"""The metrics port: what workers, gateway, endpoint, store and broker count.

One call per batch where it is hot. No call fails, waits, or stores its arguments. The
implementation (:mod:`aoi_events.telemetry.prometheus`) decides what becomes a label: texts that
come from outside may be passed as they are. The default everywhere counts nothing
(:data:`aoi_events.platform.no_metrics.NO_METRICS`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.providers.breaker import Breaker
from aoi_events.ports.broker import Outbound, Published
from aoi_events.ports.channel import SubmitResult

Change = tuple[Delivery | None, Delivery]
"""A delivery before and after a transaction that was committed; None: it is new."""


class Level(StrEnum):
    """Values that are read at a scrape, rather than counted."""

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
    """The limits of the gateway."""

    CONNECTIONS = "connections"
    CONNECTIONS_PER_ADDRESS = "connections_per_address"
    ENTRIES = "entries"
    """Hellos and registrations of one address."""
    REQUESTS_WAITING = "requests_waiting"


class WorkerMetrics(Protocol):
    """Metrics of the workers."""

    def batch(
        self, queue: str, message_ids: Sequence[str | None]
    ) -> AbstractContextManager[object]:
        """A batch of ``queue`` was taken, oldest first; the block is its handling up to the ack.

        A block that ends in an exception was not handled, and is not counted.
        """

    def published(self, outputs: Iterable[Outbound], now: datetime) -> None:
        """Messages were published by ``now``, or need not be; count what their notes report."""

    def unanswered(self, requests: Iterable[str]) -> None:
        """Requests with these routing keys were handled that want no answer."""

    def deliveries(self, changes: Iterable[Change]) -> None:
        """Deliveries changed, in a transaction that was committed."""

    def outcomes(self, outcomes: Iterable[tuple[str, str | None]]) -> None:
        """Outcomes were taken, with this kind and channel each."""

    def presences_removed(self, number: int) -> None:
        """Presences were removed, because envelopes to their gateways' queues were returned."""

    def parked(self, queue: str, codes: Iterable[str]) -> None:
        """Messages of ``queue`` were parked, with these codes."""

    def due(self, kind: str, rows: int, lags: Iterable[float] = ()) -> None:
        """Rows were taken whose deadline had come, for some of them ``lags`` seconds before."""

    def submitted(self, channel: str, results: Iterable[SubmitResult]) -> None:
        """Items were submitted to a provider, with these results."""

    def providers(self, names: Collection[str]) -> None:
        """The operator set these providers; all others are counted as one."""

    def receipt(self, channel: str, provider: str | None, result: str) -> None:
        """A receipt named its message ``exact`` or ``respelled``, or it named no message that we
        know: ``unknown``; ``dropped`` while it waited; ``unmarked``, perhaps of a telephone.
        """

    def watch_window(self, channel: str, in_use: Callable[[], int]) -> None:
        """Ask ``in_use`` at a scrape how much of a provider's window is in use."""

    def watch_breakers(self, channel: str, in_trouble: Callable[[], Mapping[str, Breaker]]) -> None:
        """Ask ``in_trouble`` at a scrape for the breakers of a channel that are not closed."""

    def policy_reloaded(self, result: str) -> None:
        """The operator's policy file changed, and was ``taken`` or ``refused``."""


class GatewayMetrics(Protocol):
    """Metrics of a gateway."""

    def batch(
        self, queue: str, message_ids: Sequence[str | None]
    ) -> AbstractContextManager[object]:
        """As :meth:`WorkerMetrics.batch`."""

    def frame_received(self) -> None:
        """A device sent a frame, of whatever kind."""

    def frame_sent(self) -> None:
        """A frame was written to a device."""

    def closed(self, by: str | None, code: int | None) -> None:
        """A WebSocket ended. ``by`` is who sent the close frame with ``code`` first, ``server`` or
        ``device``; both are None where neither did.
        """

    def queue_failed(self) -> None:
        """The gateway's queue failed a probe and is replaced."""

    def refused(self, limit: Limit) -> None:
        """A connection or request was refused because of ``limit``."""

    def gave_up(self) -> None:
        """An outcome was dropped because too many waited for the broker."""

    def watch(self, levels: Mapping[Level, Callable[[], int]]) -> None:
        """Ask these functions for the levels at a scrape."""


class EndpointMetrics(Protocol):
    """Metrics of an endpoint."""

    def answered(self, method: str, path: str, status: int | None, seconds: float | None) -> None:
        """An HTTP request was answered; no ``status``: it went away before. ``seconds`` since its
        head was complete; None: it never was.
        """

    def watch(self, levels: Mapping[Level, Callable[[], int]]) -> None:
        """Ask these functions for the levels at a scrape."""


class StoreMetrics(Protocol):
    """Metrics of the store."""

    def transaction(self, *, read_only: bool) -> AbstractContextManager[object]:
        """The block is one transaction, the wait for its connection and its commit included."""

    def watch(self, levels: Mapping[Level, Callable[[], int]]) -> None:
        """Ask these functions for the levels at a scrape."""


class BrokerMetrics(Protocol):
    """Metrics of a connection to the broker."""

    def confirmed(self, results: Sequence[Published], messages: Sequence[Outbound] = ()) -> None:
        """Publishes were answered by the broker; ``messages`` where events may be among them."""

    def uncertain(self, publishes: int) -> None:
        """Publishes failed that may have arrived or not."""

    def reconnected(self, purpose: str) -> None:
        """A connection that was lost is up again; ``purpose``: ``consuming`` or ``publishing``."""


class Metrics(
    WorkerMetrics, GatewayMetrics, EndpointMetrics, StoreMetrics, BrokerMetrics, Protocol
):
    """Everything that one process or installation counts."""
