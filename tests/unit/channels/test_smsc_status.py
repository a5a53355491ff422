"""The status of an SMSC's response, and what it means for a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.channels.sms.status import SubmitStatus, submitted_of


@pytest.mark.parametrize(
    "command_status, status",
    [
        (0x00, SubmitStatus.ACCEPTED),
        (0x0B, SubmitStatus.BAD_ADDRESS),
        (0x14, SubmitStatus.THROTTLED),
        (0x58, SubmitStatus.THROTTLED),
        (0x08, SubmitStatus.REFUSED),
        (0x64, SubmitStatus.REFUSED),
        (0x65, SubmitStatus.REJECTED),
        (0x0A, SubmitStatus.REJECTED),
        (0x440, SubmitStatus.REFUSED),
    ],
)
def test_every_status_has_a_meaning(command_status: int, status: SubmitStatus) -> None:
    """Temporary, permanent and too-fast statuses differ; a vendor's own count as temporary."""
    assert submitted_of(command_status, "1" if command_status == 0 else None).status is status


@given(st.integers(0, 2**32 - 1))
def test_any_status_has_a_meaning(status: int) -> None:
    """Every number that an SMSC may send has a meaning, and raises nothing."""
    assert submitted_of(status, None).detail
