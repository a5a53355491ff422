"""Receipts that wait: when they are looked up and acknowledged, and which are dropped."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.ports.channel import Receipt
from aoi_events.services.channel import waiting
from aoi_events.services.channel.waiting import Waiting, WaitingReceipts
from tests.support.rows import NOW


def after(seconds: float) -> datetime:
    """So many seconds after the first receipt."""
    return NOW + timedelta(seconds=seconds)


class Provider:
    """Receipts in a room, and which of them are acknowledged."""

    def __init__(self) -> None:
        self.room = WaitingReceipts()
        self.acknowledged: list[str] = []

    def send(self, message: str, seconds: float = 0.0, **changes: object) -> None:
        """Add a receipt of a message."""
        receipt = Receipt(
            message, OutcomeKind.REJECTED, acknowledge=lambda: self.acknowledged.append(message)
        )
        self.room.add(replace(receipt, **changes), after(seconds))  # type: ignore[arg-type]

    def due(self, seconds: float) -> list[str]:
        """The messages that are looked up then."""
        return [each.receipt.provider_message for each in self.room.due(after(seconds))]

    def only(self) -> Waiting:
        """The one receipt that waits."""
        [one] = self.room.due(datetime.max.replace(tzinfo=NOW.tzinfo))
        return one


def test_an_unknown_message_is_looked_up_in_growing_pauses_for_a_minute() -> None:
    """At once, after half a second, and then less and less often, up to each five seconds."""
    provider = Provider()
    provider.send("m1")
    one = provider.only()
    tried = []
    now, wanted = 0.0, True
    while wanted:
        assert provider.due(now - 0.01) == [] or now == 0
        assert provider.due(now) == ["m1"]
        tried.append(now)
        wanted = one.still_unknown(after(now))
        now = (one.again_at - NOW).total_seconds()
    assert tried[:6] == [0, 0.5, 1.5, 3.5, 7.5, 12.5]
    assert 60 < tried[-1] <= 65
    assert len(tried) < 20


def test_a_receipt_of_an_unknown_message_is_answered_soon_and_waits_on() -> None:
    """It must not stop the receipts behind it in the SMSC's window; before, it is not answered."""
    provider = Provider()
    provider.send("m1")
    one = provider.only()
    for seconds in (0, 0.5, 1.49):
        assert one.still_unknown(after(seconds))
        assert provider.acknowledged == []
    for seconds in (1.5, 3.5, 60):
        assert one.still_unknown(after(seconds))
        assert provider.acknowledged == ["m1"]
    assert not one.still_unknown(after(60.1))


def test_a_text_that_may_be_a_telephones_is_answered_after_its_first_look_up() -> None:
    """Telephones cannot fill the SMSC's window; it is looked up as long as any receipt."""
    provider = Provider()
    provider.send("m1", sure=False)
    one = provider.only()
    one.look_up_failed(after(0))
    assert provider.acknowledged == []
    assert one.still_unknown(after(1))
    assert provider.acknowledged == ["m1"]
    assert provider.due(1.5) == ["m1"]
    assert one.still_unknown(after(61))
    assert not one.still_unknown(after(61.1))


def test_time_without_a_look_up_is_no_time_of_an_unknown_message() -> None:
    """While the store is away it is not answered, and after that it has its full time."""
    provider = Provider()
    provider.send("m1")
    one = provider.only()
    pauses = []
    for _ in range(6):
        before = one.again_at
        one.look_up_failed(before)
        pauses.append((one.again_at - before).total_seconds())
    assert pauses == [0.5, 1, 2, 4, 5, 5]
    assert one.still_unknown(after(3_600))
    assert provider.acknowledged == []
    assert provider.due(3_600.5) == ["m1"]
    assert one.still_unknown(after(3_660))
    assert not one.still_unknown(after(3_661))


def test_an_outage_between_look_ups_is_no_time_of_an_unknown_message() -> None:
    """Only time between look-ups that succeeded counts: after an hour's outage the receipt is not
    answered, and waits for the rest of its time.
    """
    provider = Provider()
    provider.send("m1")
    one = provider.only()
    for seconds in (0, 0.5):
        assert one.still_unknown(after(seconds))
    for seconds in (1.5, 3_000):
        one.look_up_failed(after(seconds))
    assert one.unknown_for(after(3_600)) == timedelta(seconds=0.5)
    assert one.still_unknown(after(3_600))
    assert provider.due(3_600.5) == ["m1"]
    assert provider.acknowledged == []
    assert one.still_unknown(after(3_601))
    assert provider.acknowledged == ["m1"]
    for seconds in range(3_605, 3_656, 5):
        assert one.still_unknown(after(seconds))
    assert not one.still_unknown(after(3_661))


def test_a_store_that_fails_now_and_then_keeps_no_receipt_for_good() -> None:
    """Although no two look-ups in a row succeed: it is answered, and its time ends."""
    provider = Provider()
    provider.send("m1")
    one = provider.only()
    look_ups = 0
    while one.still_unknown(one.again_at):
        look_ups += 1
        assert provider.acknowledged == (["m1"] if look_ups > 3 else [])
        assert look_ups < 200
        one.look_up_failed(one.again_at)
    assert look_ups == 121


def test_a_receipt_that_comes_again_waits_with_the_first_one() -> None:
    """It is looked up at once, and all are acknowledged together; its time is that of the first."""
    provider = Provider()
    provider.send("m1")
    one = provider.only()
    one.still_unknown(after(0))
    provider.send("m1", 0.1)
    assert provider.due(0.1) == ["m1"]
    assert provider.only() is one
    assert one.unknown_for(after(0.5)) == timedelta(seconds=0.5)
    provider.room.remove(one)
    assert provider.acknowledged == ["m1", "m1"]
    assert provider.due(1) == []
    one.acknowledge()
    assert provider.acknowledged == ["m1", "m1"]


def test_receipts_that_say_different_things_wait_beside_each_other() -> None:
    """Of one message: each kind, each number, and one that closes the channel."""
    provider = Provider()
    provider.send("m1")
    for change in (
        {"kind": OutcomeKind.RECEIPTED},
        {"closes_channel": True},
        {"addresses": ("0000001",)},
        {"sure": False},
    ):
        provider.send("m1", **change)
    assert provider.due(0) == ["m1"] * 5


def test_of_too_many_the_oldest_that_are_answered_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that is not answered stays: then no more should be taken."""
    monkeypatch.setattr(waiting, "AT_MOST", 3)
    provider = Provider()
    for number in range(6):
        provider.send(f"m{number}")
    for each in provider.room.due(NOW)[1:3]:
        each.acknowledge()
    assert [each.provider_message for each in provider.room.remove_surplus()] == ["m1", "m2"]
    assert provider.due(0) == ["m0", "m3", "m4", "m5"]
    full = [provider.room.full]
    provider.room.remove(provider.room.due(NOW)[0])
    full.append(provider.room.full)
    assert full == [True, False]
    assert provider.room.remove_surplus() == []
