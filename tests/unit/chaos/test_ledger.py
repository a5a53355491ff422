from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.acceptance.device_pool import APPS, Device
from tests.chaos.ledger import BRIEF, Ledger


@dataclass
class NamedDevice:
    """A device that has tokens."""

    name: str
    tokens: dict[str, str] = field(default_factory=lambda: {app: f"token of {app}" for app in APPS})


def ledger() -> Ledger:
    """Two devices with two apps each."""
    made = Ledger()
    made.address(cast(list[Device], [NamedDevice("a"), NamedDevice("b")]))
    return made


def test_devices_and_apps_take_turns() -> None:
    """Each app of each device gets one before any gets the next, under a name of its own."""
    it = ledger()
    sent = [it.next() for _ in range(5)]
    assert [(each.device.name, each.application) for each in sent] == [
        ("a", APPS[0]),
        ("b", APPS[0]),
        ("a", APPS[1]),
        ("b", APPS[1]),
        ("a", APPS[0]),
    ]
    assert len({each.name for each in sent}) == 5


@pytest.mark.parametrize("devices", [1, 12, 13, 25])
def test_one_in_25_may_expire_at_each_app_of_each_device(devices: int) -> None:
    """None of them gets such notifications alone, however many devices there are."""
    it = Ledger()
    it.address(cast(list[Device], [NamedDevice(f"{number}") for number in range(devices)]))
    rounds = 100
    sent = [it.next() for _ in range(rounds * devices * len(APPS))]
    brief = Counter((each.device.name, each.application) for each in sent if each.ttl == BRIEF)
    assert len(brief) == devices * len(APPS)
    assert set(brief.values()) == {rounds // 25}


def test_a_device_is_dark_until_it_is_shown_what_was_sent_since() -> None:
    """What was sent before does not count, however late it arrives."""
    it = ledger()
    before, other = it.next(), it.next()
    after = it.next()
    it.show("a", before.application, before.name)
    it.show("b", other.application, other.name)
    assert [device.name for device in it.dark(other.asked)] == ["a"]
    it.show("a", after.application, after.name)
    assert it.dark(other.asked) == []


def test_what_is_another_apps_is_strange() -> None:
    """It is no arrival of the notification."""
    it = ledger()
    sent = it.next()
    it.show("b", sent.application, sent.name)
    it.show("a", sent.application, "nobody sent this")
    assert it.strange == [
        ("b", sent.application, sent.name),
        ("a", sent.application, "nobody sent this"),
    ]
    assert not sent.shown
