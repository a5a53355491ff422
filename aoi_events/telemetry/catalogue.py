"""Every metric: its name, its meaning, and its labels with all their possible values.

A label's values are known beforehand (or come from the installation's settings). Any
other value is counted under :data:`OTHER`, so that no sender and no device can add a series.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.requests import REQUESTS
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.contracts.webpush import WebPushCloseCode
from aoi_events.errors import ErrorCode
from aoi_events.ports.broker import Published
from aoi_events.ports.metrics import Limit

NONE: Final = "none"
"""The value of a label that does not apply."""
OTHER: Final = "other"
"""The value of a label for every value that is not known beforehand."""

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a metric.

    ``values``: the possible values beside ``none`` and ``other``; None: the channels,
    queues or providers of the installation.
    """

    name: str
    values: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. ``buckets``: upper bounds of a histogram."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()


def _label(name: str, values: Iterable[object]) -> Label:
    return Label(name, frozenset(map(str, values)))


_CHANNEL: Final = Label("channel", None)
_QUEUE: Final = Label("queue", None)
_PROVIDER: Final = Label("provider", None)
_REASON: Final = _label("reason", Reason)
_ENDED: Final = _label("state", (state for state in DeliveryState if state.terminal))
_ERROR: Final = _label("code", ErrorCode)
_CLOSE_CODES: Final = {int(code) for code in (*CloseCode, *WebPushCloseCode)}

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW: Final = (*_FAST[3:], 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0, 86_400.0, 604_800.0)

CATALOGUE: Final = (
    Definition("aoi_deliveries_accepted_total", "counter", "Deliveries that were accepted."),
    Definition(
        "aoi_deliveries_settled_total",
        "counter",
        "Deliveries that ended: once for each end, whatever is published again. The channel is "
        "that which delivered, or was tried last; `by` is the source of the evidence that it was "
        "delivered.",
        (_ENDED, _CHANNEL, _REASON, _label("by", Evidence)),
    ),
    Definition(
        "aoi_deliveries_superseded_total",
        "counter",
        "Deliveries that had ended in this state and were delivered after all; they count as "
        "settled twice.",
        (_ENDED,),
    ),
    Definition(
        "aoi_deliveries_stored_total",
        "counter",
        "How often deliveries came to wait for their device, and why.",
        (_REASON,),
    ),
    Definition(
        "aoi_delivery_first_step_seconds",
        "histogram",
        "From acceptance to the broker's confirm of the first step, stored deliveries included.",
        buckets=_SLOW,
    ),
    Definition(
        "aoi_delivery_delivered_seconds",
        "histogram",
        "From acceptance to delivered.",
        (_CHANNEL,),
        _SLOW,
    ),
    Definition(
        "aoi_outcomes_total",
        "counter",
        "Outcomes of steps as they were reported, repeats included.",
        (_label("kind", OutcomeKind), _CHANNEL),
    ),
    Definition(
        "aoi_presences_removed_total",
        "counter",
        "Devices that count as not connected because a message to their gateway's queue was "
        "returned; their gateway reports those that are connected again.",
    ),
    Definition(
        "aoi_queue_wait_seconds",
        "histogram",
        "How long the oldest message of each batch had waited, of messages that say when they "
        "were published (ours do).",
        (_QUEUE,),
        (*_FAST, 60.0, 300.0, 1_800.0, 7_200.0),
    ),
    Definition(
        "aoi_batch_messages",
        "histogram",
        "Messages that were handled at once.",
        (_QUEUE,),
        (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000),
    ),
    Definition(
        "aoi_batch_seconds",
        "histogram",
        "From taking a batch to its acknowledgement; where broker or store were away, that time "
        "included.",
        (_QUEUE,),
        _FAST,
    ),
    Definition(
        "aoi_requests_total",
        "counter",
        "Requests that were handled, by the code of their answer: `ok`, `none` if no "
        "answer was requested, or an error code.",
        (_label("request", REQUESTS), _label("code", ("ok", *ErrorCode))),
    ),
    Definition(
        "aoi_parked_messages_total",
        "counter",
        "Messages that were set aside (`aoi dead list`), those over a sender's quota left out.",
        (_QUEUE, _ERROR),
    ),
    Definition(
        "aoi_deadlines_due_total",
        "counter",
        "Rows whose deadline had come and that were looked at.",
        (_label("kind", ("delivery", "proof")),),
    ),
    Definition(
        "aoi_deadlines_lag_seconds",
        "histogram",
        "How long after their deadline deliveries were looked at.",
        buckets=_FAST,
    ),
    Definition(
        "aoi_submissions_total",
        "counter",
        "Deliveries and challenges that were submitted to the provider of a connectionless "
        "channel, by its answer: an outcome, `throttled` or `bad_address`.",
        (_CHANNEL, _label("result", (*OutcomeKind, "throttled", "bad_address"))),
    ),
    Definition(
        "aoi_receipts_total",
        "counter",
        "Receipts of providers, by the ID in them: `exact`, as in the answer to the submission; "
        "`respelled`, in another base, case or length; `unknown`, of no message that we know, or "
        "not certain of which; `dropped`, the same, when too many waited; `unmarked`, the same, in "
        "a text that may be of a telephone.",
        (
            _CHANNEL,
            _PROVIDER,
            _label("result", ("exact", "respelled", "unknown", "dropped", "unmarked")),
        ),
    ),
    Definition(
        "aoi_submission_window_in_use",
        "gauge",
        "Submissions that the provider has not answered yet.",
        (_CHANNEL,),
    ),
    Definition(
        "aoi_policy_reloads_total",
        "counter",
        "Changes of the policy file (`AOI_POLICY_FILE`), by their result: after one that was "
        "`refused` the policy before it stays in force.",
        (_label("result", ("taken", "refused")),),
    ),
    Definition(
        "aoi_breakers_not_closed",
        "gauge",
        "Providers (SMSCs, origins of webhooks and push services) that this worker found down and "
        "gives nothing (`open`), or probes (`half_open`); `aoi status --channels` names them.",
        (_CHANNEL, _label("state", ("open", "half_open"))),
    ),
    Definition("aoi_gateway_connections", "gauge", "Devices that are connected to this gateway."),
    Definition("aoi_gateway_sessions", "gauge", "Of these, AOI Clients that were admitted."),
    Definition("aoi_gateway_outbox_entries", "gauge", "Outcomes that wait for the broker."),
    Definition(
        "aoi_gateway_outbox_given_up_total",
        "counter",
        "Outcomes that were too many to wait; the deadlines of their deliveries settle them.",
    ),
    Definition(
        "aoi_gateway_queue_failures_total",
        "counter",
        "How often a probe through this gateway's queue did not come back, or workers could not "
        "reach the queue, so that another one was opened.",
    ),
    Definition(
        "aoi_gateway_frames_total",
        "counter",
        "WebSocket frames, pings and closes included.",
        (_label("direction", ("received", "sent")),),
    ),
    Definition(
        "aoi_gateway_closes_total",
        "counter",
        "WebSockets that ended, by who closed and the close code; `none`: cut without a word.",
        (_label("by", ("server", "device")), _label("code", _CLOSE_CODES)),
    ),
    Definition(
        "aoi_gateway_refused_total",
        "counter",
        "Connections, hellos, registrations and requests that a limit refused.",
        (_label("limit", Limit),),
    ),
    Definition(
        "aoi_endpoint_requests_total",
        "counter",
        "HTTP requests of senders, by the status of their answer (`none`: the sender went away). "
        "`api` is `webpush`, `json` or `other`.",
        (
            _label("api", ("webpush", "json")),
            _label("method", ("GET", "POST", "DELETE")),
            _label("status", map(int, HTTPStatus)),
        ),
    ),
    Definition(
        "aoi_endpoint_request_seconds",
        "histogram",
        "From the head of an HTTP request to the end of its answer.",
        (_label("api", ("webpush", "json")),),
        _FAST,
    ),
    Definition("aoi_endpoint_connections", "gauge", "Senders that are connected to this endpoint."),
    Definition(
        "aoi_endpoint_requests_waiting",
        "gauge",
        "Requests of senders that wait for an answer of the workers.",
    ),
    Definition(
        "aoi_store_transaction_seconds",
        "histogram",
        "Transactions, from asking for a connection to the end, those that failed included.",
        (_label("mode", ("read", "write")),),
        _FAST,
    ),
    Definition(
        "aoi_store_connections_in_use",
        "gauge",
        "Connections to the store in use, of `AOI_STORE_POOL`.",
    ),
    Definition(
        "aoi_broker_publishes_total",
        "counter",
        "Publishes by the answer of the broker: `confirmed`, `returned` (no queue took it), "
        "`nacked`, `unconfirmed` (not awaited any more, or not sent, because a queue of it is "
        "silent; what may be lost only), or `uncertain` (refused, or the confirm did not come).",
        (_label("result", (*(result.value for result in Published), "uncertain")),),
    ),
    Definition(
        "aoi_events_refused_total",
        "counter",
        "Events that a queue which is bound to `aoi.events` did not take, and misses, or did not "
        "confirm in time, and may miss.",
    ),
    Definition(
        "aoi_broker_reconnections_total",
        "counter",
        "How often a lost connection to the broker came back.",
        (_label("connection", ("consuming", "publishing")),),
    ),
)
