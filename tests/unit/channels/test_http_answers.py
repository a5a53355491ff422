"""What an HTTP answer means for the item that it answers."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.channels.base.http.answers import FinalStatuses, seconds_to_wait, verdict_of
from aoi_events.channels.webhook.channel import WebhookChannel
from aoi_events.channels.webpush.channel import WebPushChannel
from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from tests.support.instant import INSTANT as NOW

header = (
    st.none()
    | st.text(max_size=40)
    | st.integers().map(str)
    | st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)).map(  # noqa: DTZ001
        lambda at: format_datetime(at.replace(tzinfo=UTC))
    )
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,9} [A-Z][a-z]{2} [0-9]{1,9} [0-9:]{0,9} [-+0-9A-Z]*")
)


WEBHOOK, WEB_PUSH = WebhookChannel.final, WebPushChannel.final
NEITHER = sorted({*range(300, 500)} - {404, 408, 410, 413, 425, 429})


@pytest.mark.parametrize("final", [WEBHOOK, WEB_PUSH], ids=["webhook", "webpush"])
@pytest.mark.parametrize(
    "status, kind, closes",
    [
        (200, OutcomeKind.ACCEPTED, False),
        (201, OutcomeKind.ACCEPTED, False),
        (202, OutcomeKind.ACCEPTED, False),
        (204, OutcomeKind.ACCEPTED, False),
        (410, OutcomeKind.REJECTED, True),
        (408, OutcomeKind.REFUSED, False),
        (425, OutcomeKind.REFUSED, False),
        (429, OutcomeKind.REFUSED, False),
        (500, OutcomeKind.REFUSED, False),
        (502, OutcomeKind.REFUSED, False),
        (503, OutcomeKind.REFUSED, False),
        (507, OutcomeKind.REFUSED, False),
        (999, OutcomeKind.REFUSED, False),
        *((status, OutcomeKind.UNAVAILABLE, False) for status in NEITHER),
    ],
)
def test_statuses(status: int, kind: OutcomeKind, closes: bool, final: FinalStatuses) -> None:
    """2xx is accepted, 410 ends the channel; every other status may pass."""
    verdict = verdict_of(status, None, NOW, final)
    assert (verdict.kind, verdict.closes_channel, verdict.retry_after) == (kind, closes, 0.0)
    assert str(status) in verdict.detail


@pytest.mark.parametrize(
    "status, final, kind, closes",
    [
        (404, WEBHOOK, OutcomeKind.UNAVAILABLE, False),
        (404, WEB_PUSH, OutcomeKind.REJECTED, True),
        (413, WEBHOOK, OutcomeKind.UNAVAILABLE, False),
        (413, WEB_PUSH, OutcomeKind.REJECTED, False),
    ],
)
def test_statuses_that_two_protocols_define_differently(
    status: int, final: FinalStatuses, kind: OutcomeKind, closes: bool
) -> None:
    """404 and 413 are final for a push service (RFC 8030), and may pass at a webhook's receiver."""
    verdict = verdict_of(status, None, NOW, final)
    assert (verdict.kind, verdict.closes_channel) == (kind, closes)


@pytest.mark.parametrize("status", [404, 429, 503])
def test_retry_after_is_honoured(status: int) -> None:
    """As a number of seconds and as a date, with a day as the most."""
    assert verdict_of(status, "120", NOW, WEBHOOK).retry_after == 120
    at = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    assert verdict_of(status, at, NOW, WEBHOOK).retry_after == 90
    at = f"{NOW + timedelta(seconds=30):%A, %d-%b-%y %H:%M:%S} GMT"
    assert verdict_of(status, at, NOW, WEBHOOK).retry_after == 30
    assert verdict_of(status, "999999999", NOW, WEBHOOK).retry_after == 86_400


@pytest.mark.parametrize("text", ["", "-1", "1.5", "soon", "1e9", "0x10", "٣", "Mon, 99 Nov 2026"])
def test_what_says_nothing_counts_as_nothing(text: str) -> None:
    """An unreadable Retry-After is no fault and no wait: the schedule of retries applies."""
    assert seconds_to_wait(text, NOW) == 0.0


def test_a_date_that_has_passed_is_no_wait() -> None:
    """A Retry-After in the past, by a clock that differs, is no wait."""
    assert seconds_to_wait(format_datetime(NOW - timedelta(days=1)), NOW) == 0.0


@given(st.integers(-10, 2_000), header, st.sampled_from([WEBHOOK, WEB_PUSH]))
def test_any_answer_makes_an_outcome(
    status: int, retry_after: str | None, final: FinalStatuses
) -> None:
    """Any Retry-After of a server gives an outcome that its contract accepts."""
    verdict = verdict_of(status, retry_after, NOW, final)
    assert math.isfinite(verdict.retry_after)
    OutcomeItem(
        delivery="dlv_" + "a" * 26,
        client="cli_" + "a" * 26,
        at=NOW,
        kind=verdict.kind,
        detail=verdict.detail,
        closes_channel=verdict.closes_channel,
        retry_after=verdict.retry_after or None,
    )
    assert verdict.closes_channel <= (verdict.kind is OutcomeKind.REJECTED)
    may_pass = (OutcomeKind.REFUSED, OutcomeKind.UNAVAILABLE)
    assert (verdict.retry_after > 0) <= (verdict.kind in may_pass)
