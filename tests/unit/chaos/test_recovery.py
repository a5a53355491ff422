from __future__ import annotations

from random import Random

import pytest

from tests.chaos.faults import FAULTS, draw
from tests.chaos.recovery import first_and_all, silence


def test_silence_is_the_longest_time_without_an_arrival() -> None:
    """Only between start and end, at both ends too; arrivals outside do not count."""
    assert silence([1, 2, 12, 13], 0, 14) == 10
    assert silence([1, 2], 0, 10) == 8
    assert silence([8, 9], 0, 10) == 8
    assert silence([-3, 20], 0, 10) == 10
    assert silence([], 2, 7) == 5


def test_all_devices_are_served_when_the_last_one_is() -> None:
    """Together they are silent for as long as none of them is shown anything."""
    assert first_and_all({"a": [1, 2, 3, 4], "b": [1, 4]}, 0, 5) == (1, 3)
    assert first_and_all({"a": [1, 2, 3, 4], "b": []}, 0, 5) == (1, 5)


def test_a_seed_draws_the_same_faults_each_once_before_one_comes_again() -> None:
    """In another order for another seed."""
    drawn = draw(Random(1), 2 * len(FAULTS))
    assert drawn == draw(Random(1), 2 * len(FAULTS))
    assert drawn != draw(Random(2), 2 * len(FAULTS))
    assert set(drawn[: len(FAULTS)]) == set(drawn[len(FAULTS) :]) == set(FAULTS)


def test_faults_are_chosen_by_their_names() -> None:
    """A name that none has ends the command with all names."""
    assert {fault.name for fault in draw(Random(1), 9, "alarm")} == {"memory alarm", "disk alarm"}
    with pytest.raises(SystemExit, match="no fault is called 'fire': leader killed"):
        draw(Random(1), 1, "fire")
