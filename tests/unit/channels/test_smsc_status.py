"""The status of an SMSC's response, and what it means for a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import RefusedNumbers, SubmitStatus, Submitted, submitted_of


@pytest.mark.parametrize(
    "command_status, status",
    [
        (0x00, SubmitStatus.ACCEPTED),
        (0x0B, SubmitStatus.BAD_ADDRESS),
        (0x14, SubmitStatus.THROTTLED),
        (0x58, SubmitStatus.THROTTLED),
        (0x04, SubmitStatus.NOT_SENT),
        (0x08, SubmitStatus.REFUSED),
        (0x64, SubmitStatus.REFUSED),
        (0x65, SubmitStatus.REJECTED),
        (0x66, SubmitStatus.REJECTED),
        (0x01, SubmitStatus.REJECTED),
        (0x440, SubmitStatus.REFUSED),
    ],
)
def test_every_status_has_a_meaning(command_status: int, status: SubmitStatus) -> None:
    """Temporary, permanent and too-fast statuses differ; a vendor's own count as temporary."""
    assert submitted_of(command_status, "1" if command_status == 0 else None).status is status


@pytest.mark.parametrize(
    "command_status, setting",
    [
        (0x07, "registered_delivery"),
        (0x0A, "source"),
        (0x15, "service_type"),
        (0x43, None),
        (0x48, "source_ton"),
        (0x49, "source_npi"),
        (0x50, "destination_ton"),
        (0x51, "destination_npi"),
        (0x53, "system_type"),
        (0x61, "validity"),
        (0x62, "validity"),
        (0x88, None),
        (0x102, None),
        (0x3FF, None),
    ],
)
def test_a_status_that_blames_our_settings_is_the_operators(
    command_status: int, setting: str | None
) -> None:
    """It says nothing about the number or the message; where it is about a setting, it names it."""
    submitted = submitted_of(command_status, None)
    assert submitted.status is SubmitStatus.MISCONFIGURED
    assert setting is None or submitted.detail.endswith(f"(check {setting})")
    assert setting is None or setting in SmscSettings.model_fields


def test_a_refused_number_is_the_operators_when_no_number_is_taken() -> None:
    """One that got a challenge once, as long as a session took none; any, after three others in a
    row.
    """
    refused = RefusedNumbers()
    bad, taken = submitted_of(0x0B, None), submitted_of(0x00, "1")

    def judged(number: int, submitted: Submitted = bad, *, proved: bool = True) -> SubmitStatus:
        return refused.judged(f"3160000000{number}", submitted, proved=proved).status

    assert [judged(number) for number in (1, 1, 2, 3, 4)] == [SubmitStatus.MISCONFIGURED] * 5
    for proved in (False, True):
        numbers = (1, 1, 2, 3, 1)
        assert {judged(number, proved=proved) for number in numbers} == {SubmitStatus.BAD_ADDRESS}
        operators = refused.judged("31600000004", bad, proved=proved)
        assert operators.status is SubmitStatus.MISCONFIGURED
        assert "RINVDSTADR" in operators.detail
        assert operators.detail.endswith("(check destination_ton, destination_npi)")
        assert judged(9, taken) is SubmitStatus.ACCEPTED
    assert judged(4) is SubmitStatus.BAD_ADDRESS
    assert judged(9, submitted_of(0x08, None)) is SubmitStatus.REFUSED


@given(st.integers(0, 2**32 - 1))
def test_any_status_has_a_meaning(status: int) -> None:
    """Every number that an SMSC may send has a meaning, and raises nothing."""
    assert submitted_of(status, None).detail
