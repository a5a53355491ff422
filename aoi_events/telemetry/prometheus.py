"""The metrics port on ``prometheus_client``, with a registry of its own for each installation."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.providers.breaker import Breaker, BreakerState
from aoi_events.platform.message_ids import published_at
from aoi_events.ports.broker import Answered, Outbound, Published, StartedSteps
from aoi_events.ports.channel import SubmitResult
from aoi_events.ports.metrics import Change, Level, Limit
from aoi_events.telemetry.catalogue import OTHER
from aoi_events.telemetry.series import Maker, measured
from aoi_events.topology import EVENTS

_LONGEST_WAIT: Final = 30 * 86_400.0
"""Seconds; a message whose ID claims a longer wait is not counted."""
_NOT_TAKEN: Final = frozenset({Published.NACKED, Published.UNCONFIRMED})
_GATEWAY: Final = "aoi.gateway"
_APIS: Final = {"/wpush/": "webpush", "/message/": "webpush", "/v1/": "json"}
"""First part of the paths of the endpoint's two interfaces."""


class PrometheusMetrics:
    """See :class:`aoi_events.ports.metrics.Metrics`.

    ``channels`` and ``queues`` are those of the installation; everything else is counted as
    ``other``. Not for several threads at once.
    """

    def __init__(self, *, channels: Collection[str], queues: Collection[str]) -> None:
        self.registry: Final = CollectorRegistry(auto_describe=True)
        self._providers: Final[set[str]] = set()
        installed: Mapping[str, Set[str]] = {
            "channel": frozenset(channels),
            "queue": frozenset({*queues, _GATEWAY}),
            "provider": self._providers,
        }
        make = Maker(self.registry, installed)
        self._accepted = make.counter("aoi_deliveries_accepted_total")()
        self._settled = make.counter("aoi_deliveries_settled_total")
        self._superseded = make.counter("aoi_deliveries_superseded_total")
        self._stored = make.counter("aoi_deliveries_stored_total")
        self._first_step = make.histogram("aoi_delivery_first_step_seconds")()
        self._delivered = make.histogram("aoi_delivery_delivered_seconds")
        self._outcomes = make.counter("aoi_outcomes_total")
        self._waits = make.histogram("aoi_queue_wait_seconds")
        self._batch_messages = make.histogram("aoi_batch_messages")
        self._batch_seconds = make.histogram("aoi_batch_seconds")
        self._requests = make.counter("aoi_requests_total")
        self._parked = make.counter("aoi_parked_messages_total")
        self._due = make.counter("aoi_deadlines_due_total")
        self._lag = make.histogram("aoi_deadlines_lag_seconds")()
        self._submissions = make.counter("aoi_submissions_total")
        self._receipts = make.counter("aoi_receipts_total")
        self._window = make.gauge("aoi_submission_window_in_use")
        self._reloads = make.counter("aoi_policy_reloads_total")
        self._breakers = make.gauge("aoi_breakers_not_closed")
        frames = make.counter("aoi_gateway_frames_total")
        self._received, self._sent = frames("received"), frames("sent")
        self._closes = make.counter("aoi_gateway_closes_total")
        self._refused = make.counter("aoi_gateway_refused_total")
        self._http = make.counter("aoi_endpoint_requests_total")
        self._http_seconds = make.histogram("aoi_endpoint_request_seconds")
        transactions = make.histogram("aoi_store_transaction_seconds")
        self._reading, self._writing = transactions("read"), transactions("write")
        self._publishes = make.counter("aoi_broker_publishes_total")
        self._events_refused = make.counter("aoi_events_refused_total")()
        self._reconnections = make.counter("aoi_broker_reconnections_total")
        self._levels = {
            Level.CONNECTIONS: make.gauge("aoi_gateway_connections")(),
            Level.SESSIONS: make.gauge("aoi_gateway_sessions")(),
            Level.OUTBOX: make.gauge("aoi_gateway_outbox_entries")(),
            Level.SENDERS: make.gauge("aoi_endpoint_connections")(),
            Level.WAITING: make.gauge("aoi_endpoint_requests_waiting")(),
            Level.POOL: make.gauge("aoi_store_connections_in_use")(),
        }
        self._queue_failures = make.counter("aoi_gateway_queue_failures_total")()
        self._presences = make.counter("aoi_presences_removed_total")()
        self._given_up = make.counter("aoi_gateway_outbox_given_up_total")()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics now, and their content type: OpenMetrics where ``accept``, the header, names
        it, else Prometheus' text format 0.0.4.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    # -- workers --------------------------------------------------------------------------------

    def batch(
        self, queue: str, message_ids: Sequence[str | None]
    ) -> AbstractContextManager[object]:
        """Count the batch when the block ends, and the wait of its oldest message now."""
        at = next((at for id_ in message_ids if (at := published_at(id_)) is not None), None)
        if at is not None:
            waited = time.time() - at
            if waited <= _LONGEST_WAIT:
                # Clocks of two machines differ a little.
                self._waits(queue).observe(max(waited, 0.0))
        return measured(self._batch_messages(queue), self._batch_seconds(queue), len(message_ids))

    def published(self, outputs: Iterable[Outbound], now: datetime) -> None:
        """Count answers, and the time to first steps."""
        answers: Tally[Answered] = Tally()
        for output in outputs:
            match output.note:
                case Answered():
                    answers[output.note] += 1
                case StartedSteps(attempts):
                    for row, _, attempt in attempts:
                        if attempt == 1:
                            waited = (now - row.accepted_at).total_seconds()
                            self._first_step.observe(max(waited, 0.0))
                case None:
                    pass
        for answered, number in answers.items():
            self._requests(answered.request, answered.code).inc(number)

    def unanswered(self, requests: Iterable[str]) -> None:
        """Count requests."""
        for request, number in Tally(requests).items():
            self._requests(request, None).inc(number)

    def deliveries(self, changes: Iterable[Change]) -> None:
        """Count changes of state."""
        settled: Tally[tuple[str | None, ...]] = Tally()
        stored: Tally[str | None] = Tally()
        accepted = 0
        for before, after in changes:
            if before is None:
                accepted += 1
            elif before.state is after.state:
                continue
            if after.state is DeliveryState.STORED:
                stored[after.reason] += 1
            elif after.state.terminal:
                settled[after.state, _channel_of(after), after.reason, after.by] += 1
                self._note_end(before, after)
        self._accepted.inc(accepted)
        for reason, number in stored.items():
            self._stored(reason).inc(number)
        for labels, number in settled.items():
            self._settled(*labels).inc(number)

    def _note_end(self, before: Delivery | None, after: Delivery) -> None:
        if before is not None and before.state.terminal:
            self._superseded(before.state).inc()
        if after.state is DeliveryState.DELIVERED and after.settled_at is not None:
            seconds = (after.settled_at - after.accepted_at).total_seconds()
            self._delivered(after.channel).observe(max(seconds, 0.0))

    def outcomes(self, outcomes: Iterable[tuple[str, str | None]]) -> None:
        """Count outcomes."""
        for labels, number in Tally(outcomes).items():
            self._outcomes(*labels).inc(number)

    def presences_removed(self, number: int) -> None:
        """Count presences."""
        self._presences.inc(number)

    def parked(self, queue: str, codes: Iterable[str]) -> None:
        """Count parked messages."""
        for code, number in Tally(codes).items():
            self._parked(queue, code).inc(number)

    def due(self, kind: str, rows: int, lags: Iterable[float] = ()) -> None:
        """Count rows that were due."""
        self._due(kind).inc(rows)
        for lag in lags:
            self._lag.observe(max(lag, 0.0))

    def submitted(self, channel: str, results: Iterable[SubmitResult]) -> None:
        """Count submissions."""
        for result, number in Tally(map(_result_of, results)).items():
            self._submissions(channel, result).inc(number)

    def providers(self, names: Collection[str]) -> None:
        """Allow these values of the label ``provider``."""
        self._providers.update(names)

    def receipt(self, channel: str, provider: str | None, result: str) -> None:
        """Count a receipt."""
        self._receipts(channel, provider, result).inc()

    def watch_window(self, channel: str, in_use: Callable[[], int]) -> None:
        """Ask for the window of a channel at each exposition."""
        self._window(channel).set_function(in_use)

    def policy_reloaded(self, result: str) -> None:
        """Count a change of the policy file."""
        self._reloads(result).inc()

    def watch_breakers(self, channel: str, in_trouble: Callable[[], Mapping[str, Breaker]]) -> None:
        """Count those of each state at each exposition."""
        for state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            self._breakers(channel, state).set_function(partial(_number_of, state, in_trouble))

    # -- the gateway ----------------------------------------------------------------------------

    def frame_received(self) -> None:
        """Count a frame."""
        self._received.inc()

    def frame_sent(self) -> None:
        """Count a frame."""
        self._sent.inc()

    def closed(self, by: str | None, code: int | None) -> None:
        """Count a WebSocket that ended."""
        self._closes(by, None if code is None else str(int(code))).inc()

    def queue_failed(self) -> None:
        """Count a queue."""
        self._queue_failures.inc()

    def refused(self, limit: Limit) -> None:
        """Count a refusal."""
        self._refused(limit).inc()

    def gave_up(self) -> None:
        """Count an outcome."""
        self._given_up.inc()

    def watch(self, levels: Mapping[Level, Callable[[], int]]) -> None:
        """Ask for these at each exposition."""
        for level, read in levels.items():
            self._levels[level].set_function(read)

    # -- the endpoint ---------------------------------------------------------------------------

    def answered(self, method: str, path: str, status: int | None, seconds: float | None) -> None:
        """Count an HTTP request."""
        api = next((api for start, api in _APIS.items() if path.startswith(start)), OTHER)
        self._http(api, method, None if status is None else str(int(status))).inc()
        if seconds is not None:
            self._http_seconds(api).observe(seconds)

    # -- store and broker -----------------------------------------------------------------------

    def transaction(self, *, read_only: bool) -> AbstractContextManager[object]:
        """Time a transaction."""
        return (self._reading if read_only else self._writing).time()

    def confirmed(self, results: Sequence[Published], messages: Sequence[Outbound] = ()) -> None:
        """Count publishes, and the events among those that were not taken."""
        if not _NOT_TAKEN.isdisjoint(results):
            answered = zip(messages, results, strict=False)
            self._events_refused.inc(
                sum(message.exchange == EVENTS and it in _NOT_TAKEN for message, it in answered)
            )
        left = len(results)
        for result in Published:
            if not left:
                return
            if number := results.count(result):
                self._publishes(result.value).inc(number)
                left -= number

    def uncertain(self, publishes: int) -> None:
        """Count publishes."""
        self._publishes("uncertain").inc(publishes)

    def reconnected(self, purpose: str) -> None:
        """Count a reconnection."""
        self._reconnections(purpose).inc()


def _channel_of(delivery: Delivery) -> str | None:
    """The channel that delivered it, else the one that was tried last."""
    if delivery.channel is not None:
        return delivery.channel
    tried = [state for state in delivery.steps if state.started]
    return max(tried, key=lambda state: state.attempt).step.channel if tried else None


def _number_of(state: BreakerState, in_trouble: Callable[[], Mapping[str, Breaker]]) -> int:
    return sum(breaker.state is state for breaker in in_trouble().values())


def _result_of(sent: SubmitResult) -> str:
    if sent.outcome is None:
        return OutcomeKind.ACCEPTED
    if sent.throttled:
        return "throttled"
    return "bad_address" if sent.outcome.closes_channel else sent.outcome.kind
