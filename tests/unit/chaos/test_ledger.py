from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from tests.acceptance.device_pool import APPS, Device
from tests.chaos.ledger import Ledger


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
