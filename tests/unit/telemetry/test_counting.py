"""What is counted, how often, and under which labels."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.facts import Fact, Planned
from aoi_events.domain.planning.plans import Step
from aoi_events.domain.providers.breaker import Breaker, BreakerState
from aoi_events.platform.message_ids import MessageIds
from aoi_events.ports.broker import Outbound, Published
from aoi_events.ports.channel import SubmitResult
from aoi_events.ports.metrics import Change
from aoi_events.telemetry.catalogue import CATALOGUE, NONE, OTHER
from aoi_events.telemetry.prometheus import PrometheusMetrics
from aoi_events.topology import EVENTS
from tests.support.counts import value
from tests.support.rules import take
from tests.support.strategies import EPOCH, a_delivery, facts, instants, plans
from tests.unit.telemetry.every_metric import CHANNELS, PROVIDERS, QUEUES, settled, tell_everything

SENDING, STORED = DeliveryState.SENDING, DeliveryState.STORED
DELIVERED, EXPIRED = DeliveryState.DELIVERED, DeliveryState.EXPIRED


@pytest.fixture
def metrics() -> PrometheusMetrics:
    """Metrics in which nothing was counted."""
    return PrometheusMetrics(channels=CHANNELS, queues=QUEUES)


texts = st.text(max_size=20)


@given(
    told=st.lists(
        st.tuples(texts | st.none(), texts, texts, texts, texts | st.none(), st.integers()),
        max_size=5,
    )
)
def test_no_text_makes_a_series(
    told: list[tuple[str | None, str, str, str, str | None, int]],
) -> None:
    """Whatever texts senders, devices and providers bring, labels have the values of the catalogue,
    *none* or *other*: an ID, a token or a sender is never one.
    """
    metrics = PrometheusMetrics(channels=CHANNELS, queues=QUEUES)
    tell_everything(metrics)
    for channel, queue, request, code, reason, close in told:
        tell_everything(
            metrics,
            channel=channel,
            queue=queue,
            request=request,
            code=code,
            reason=reason,
            close=close,
        )
    installed = {
        "channel": {*CHANNELS},
        "queue": {*QUEUES, "aoi.gateway"},
        "provider": {*PROVIDERS},
    }
    allowed = {
        (each.name.removesuffix("_total"), label.name): {
            *(installed[label.name] if label.values is None else label.values),
            NONE,
            OTHER,
        }
        for each in CATALOGUE
        for label in each.labels
    }
    for family in metrics.registry.collect():
        for sample in family.samples:
            for label, text in sample.labels.items():
                if family.name.startswith("aoi_") and label != "le":
                    assert text in allowed[family.name, label]


@given(steps=plans(), told=st.lists(st.tuples(instants(), facts()), max_size=12))
def test_an_end_is_counted_once(steps: tuple[Step, ...], told: list[tuple[datetime, Fact]]) -> None:
    """After any history, told twice over, one end was counted for a delivery that ended, and one
    more where it was delivered after all; and the latency of what was delivered, once.
    """
    metrics = PrometheusMetrics(channels=CHANNELS, queues=QUEUES)
    new = a_delivery()
    row = take(new, Planned(steps), EPOCH).delivery
    changes: list[Change] = [(None, row)]
    now = EPOCH
    for at, fact in told:
        now = max(now, at)
        for _ in range(2):
            before, row = row, take(row, fact, now).delivery
            changes.append((before, row))
    for change in changes:
        metrics.deliveries([change])
    ends = value(metrics, "aoi_deliveries_settled_total")
    assert ends - value(metrics, "aoi_deliveries_superseded_total") == row.state.terminal
    delivered = sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "aoi_deliveries_settled_total" and sample.labels["state"] == DELIVERED
    )
    assert delivered == (row.state is DELIVERED)
    assert value(metrics, "aoi_delivery_delivered_seconds_count") == delivered
    assert value(metrics, "aoi_deliveries_accepted_total") == 1


def test_an_end_says_how(metrics: PrometheusMetrics) -> None:
    """State, channel, reason, and who says so; a failure names the channel that was tried last."""
    row = replace(a_delivery(), state=SENDING)
    done = settled(row, DELIVERED, by=Evidence.PROVIDER, channel="sms")
    metrics.deliveries([(row, done), (row, done)])
    labels = {"state": "delivered", "channel": "sms", "reason": "none", "by": "provider"}
    assert value(metrics, "aoi_deliveries_settled_total", **labels) == 2
    assert value(metrics, "aoi_delivery_delivered_seconds_sum", channel="sms") == 4
    step = Step("websocket", start_after=0.0, ack_within=10.0, connected=True)
    tried = take(a_delivery(ttl=5.0), Planned((step,)), EPOCH).delivery
    expired = settled(tried, EXPIRED, reason=Reason.UNREACHABLE)
    metrics.deliveries([(tried, expired)])
    labels = {"state": "expired", "channel": "websocket", "reason": "unreachable", "by": "none"}
    assert value(metrics, "aoi_deliveries_settled_total", **labels) == 1


def test_better_evidence_is_no_second_end(metrics: PrometheusMetrics) -> None:
    """A device that confirms what its provider had accepted changes nothing that is counted."""
    row = replace(a_delivery(), state=SENDING)
    by_provider = settled(row, DELIVERED, by=Evidence.PROVIDER, channel="sms")
    metrics.deliveries([(row, by_provider)])
    metrics.deliveries([(by_provider, replace(by_provider, by=Evidence.DEVICE))])
    assert value(metrics, "aoi_deliveries_settled_total") == 1


def test_the_oldest_message_of_a_batch_says_how_long_it_waited(metrics: PrometheusMetrics) -> None:
    """Its ID says when it was published; IDs that say nothing, or nonsense, are passed over."""
    fresh = next(MessageIds().now())
    with metrics.batch("aoi.outcome", ["m1", None, "aoi-zz", fresh, fresh]):
        pass
    assert value(metrics, "aoi_queue_wait_seconds_count", queue="aoi.outcome") == 1
    assert value(metrics, "aoi_queue_wait_seconds_sum", queue="aoi.outcome") < 60
    assert value(metrics, "aoi_batch_messages_sum", queue="aoi.outcome") == 5
    for forged in ("aoi-00000000001-x", "aoi-ffffffffffff-x"):
        with metrics.batch("aoi.notification", [forged]):
            pass
    assert value(metrics, "aoi_queue_wait_seconds_sum", queue="aoi.notification") == 0


def test_a_batch_that_was_not_handled_is_not_counted(metrics: PrometheusMetrics) -> None:
    """It comes again, here or elsewhere."""
    with pytest.raises(RuntimeError), metrics.batch("aoi.outcome", ["m1"]):
        raise RuntimeError
    assert value(metrics, "aoi_batch_messages_count", queue="aoi.outcome") == 0
    assert value(metrics, "aoi_batch_seconds_count", queue="aoi.outcome") == 0


def test_publishes_by_result(metrics: PrometheusMetrics) -> None:
    """Each publish counts once, under what the broker said."""
    confirmed, returned = Published.CONFIRMED, Published.RETURNED
    metrics.confirmed([confirmed, returned, confirmed, Published.NACKED, confirmed])
    metrics.confirmed([])
    found = {
        result: value(metrics, "aoi_broker_publishes_total", result=result)
        for result in ("confirmed", "returned", "nacked", "uncertain")
    }
    assert found == {"confirmed": 3, "returned": 1, "nacked": 1, "uncertain": 0}


def test_events_that_were_refused(metrics: PrometheusMetrics) -> None:
    """Those that a queue did not take, or not in time, count; a refused message of another kind
    does not.
    """
    fact, other = Outbound(EVENTS, "client.expired.%", b""), Outbound("", "aoi.outcome", b"")
    nacked, confirmed, late = Published.NACKED, Published.CONFIRMED, Published.UNCONFIRMED
    metrics.confirmed([nacked, nacked, confirmed, nacked], [fact, other, fact, fact])
    metrics.confirmed([late, late, confirmed], [other, fact, fact])
    assert value(metrics, "aoi_events_refused_total") == 3


def test_what_a_provider_says(metrics: PrometheusMetrics) -> None:
    """Accepted, throttled and bad addresses are told apart from other refusals."""

    def said(kind: OutcomeKind, *, closes: bool = False, throttled: bool = False) -> SubmitResult:
        outcome = OutcomeItem(
            delivery="dlv_" + "a" * 26,
            kind=kind,
            at=EPOCH,
            client="cli_" + "a" * 26,
            closes_channel=closes,
        )
        return SubmitResult(outcome, throttled=throttled)

    metrics.submitted(
        "sms",
        [
            SubmitResult(None),
            said(OutcomeKind.ACCEPTED),
            said(OutcomeKind.REFUSED),
            said(OutcomeKind.REFUSED, throttled=True),
            said(OutcomeKind.REJECTED, closes=True),
        ],
    )
    found = {
        result: value(metrics, "aoi_submissions_total", channel="sms", result=result)
        for result in ("accepted", "refused", "throttled", "bad_address")
    }
    assert found == {"accepted": 2, "refused": 1, "throttled": 1, "bad_address": 1}


def test_receipts_by_provider(metrics: PrometheusMetrics) -> None:
    """The providers that the operator set have series of their own, all others one."""
    for provider in ("eu", "x", "y", None):
        metrics.receipt("sms", provider, "unknown")
    metrics.providers(["eu"])
    metrics.receipt("sms", "eu", "unknown")
    found = {
        provider: value(metrics, "aoi_receipts_total", provider=provider, result="unknown")
        for provider in ("eu", "other", "none")
    }
    assert found == {"eu": 1, "other": 3, "none": 1}


def test_breakers_by_state(metrics: PrometheusMetrics) -> None:
    """Those that are not closed, as they are when somebody asks; names of hosts make no series."""
    known = {f"https://host-{number}": Breaker(BreakerState.OPEN) for number in range(50)}
    metrics.watch_breakers("sms", lambda: known)

    def found() -> dict[str, float | None]:
        return {
            state: value(metrics, "aoi_breakers_not_closed", channel="sms", state=state)
            for state in ("open", "half_open")
        }

    assert found() == {"open": 50, "half_open": 0}
    known["https://host-1"] = Breaker(BreakerState.HALF_OPEN)
    assert found() == {"open": 49, "half_open": 1}
    assert b"host-" not in metrics.exposition("")[0]


def test_first_steps_and_stored(metrics: PrometheusMetrics) -> None:
    """Stored counts each time; the way to the first step is timed for each delivery."""
    tell_everything(metrics)
    assert value(metrics, "aoi_deliveries_stored_total", reason="parked") == 1
    assert value(metrics, "aoi_delivery_first_step_seconds_count") == 2
    assert value(metrics, "aoi_delivery_first_step_seconds_sum") == 1.5


def test_levels_are_asked_when_they_are_served(metrics: PrometheusMetrics) -> None:
    """Nobody has to tell what can be looked at."""
    window = [1]
    metrics.watch_window("sms", lambda: len(window))
    window.append(2)
    assert value(metrics, "aoi_submission_window_in_use", channel="sms") == 2


def test_what_is_new_and_stored_at_once_counts_as_both(metrics: PrometheusMetrics) -> None:
    """A delivery that nothing can reach is accepted all the same."""
    row = replace(a_delivery(), state=STORED, reason=Reason.UNREACHABLE)
    metrics.deliveries([(None, row)])
    assert value(metrics, "aoi_deliveries_accepted_total") == 1
    assert value(metrics, "aoi_deliveries_stored_total", reason="unreachable") == 1
