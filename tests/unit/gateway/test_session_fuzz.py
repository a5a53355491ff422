"""Whatever a device sends, in either protocol: bounded, answered, never a crash."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.device import MAX_FRAME
from aoi_events.gateway.protocol.effects import Close, Send
from aoi_events.gateway.protocol.session import DeviceSession
from tests.support.device_frames import connected
from tests.support.instant import INSTANT as NOW
from tests.unit.gateway.protocol_drivers import AOI, BROWSER, ProtocolDriver, check
from tests.unit.gateway.samples import deliver, open_session

both = pytest.mark.parametrize("driver", [AOI, BROWSER], ids=["aoi", "browser"])


def opened(driver: ProtocolDriver) -> DeviceSession:
    """A session that is open under epoch 1."""
    session = driver.session()
    session.received(driver.hello(), elapsed=0.0, now=NOW)
    session.admitted(connected(), elapsed=0.0, now=NOW)
    return session


@both
@given(data=st.data(), is_open=st.booleans())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_frames_are_answered_or_end_the_session(
    driver: ProtocolDriver, data: st.DataObject, is_open: bool
) -> None:
    """Random JSON, near-misses of frames, nesting, random bytes: a proper effect or an end."""
    session = opened(driver) if is_open else driver.session()
    for frame in data.draw(st.lists(driver.frames, max_size=8)):
        check(driver, session, session.received(frame, elapsed=1.0, now=NOW))


@both
def test_ten_megabytes_are_not_parsed(driver: ProtocolDriver) -> None:
    """A huge frame ends the session with 1009, as text and as octets."""
    for data in ("x" * 10_000_000, b"\xff" * 10_000_000):
        effects = opened(driver).received(data, elapsed=1.0, now=NOW)
        assert [each.code for each in effects if isinstance(each, Close)] == [1009]


@pytest.mark.parametrize(
    "data",
    ["\x01" * MAX_CONTENT, "\\" * MAX_CONTENT, "é" * (MAX_CONTENT // 2), b"\xff" * MAX_CONTENT],
)
def test_every_content_fits_a_frame(data: str | bytes) -> None:
    """The largest content, escaped character by character or as base64, is one legal frame."""
    session = open_session()
    effects = session.deliver(deliver(1, content=Content.of(data)), elapsed=1.0, now=NOW)
    assert [type(effect) for effect in effects] == [Send]
    check(AOI, session, effects)


def test_the_largest_frame_is_below_the_bound() -> None:
    """The largest content fits a browser's frame with any headers."""
    session = opened(BROWSER)
    (effect,) = session.deliver(BROWSER.push(1, data=b"\xff" * MAX_CONTENT), elapsed=1.0, now=NOW)
    assert isinstance(effect, Send)
    assert len(effect.frame) < MAX_FRAME - 2 * 512
