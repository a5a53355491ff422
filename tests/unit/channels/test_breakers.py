"""The breakers of a channel's providers, as one worker keeps them."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from aoi_events.channels.base.breakers import Breakers
from aoi_events.contracts.envelopes import ChallengeItem, ChallengeOutcome, OutcomeKind
from aoi_events.contracts.identifiers import base32_id
from aoi_events.domain.providers.breaker import BreakerPolicy, BreakerState
from aoi_events.domain.retry import Backoff
from aoi_events.testing.stopped_clock import FixedDice, ManualClock

POLICY = BreakerPolicy(failures=2, wait=Backoff(first=4.0, ceiling=60.0))


def _breakers(clock: ManualClock, most: int = 10) -> Breakers:
    return Breakers("sms", policy=POLICY, clock=clock, dice=FixedDice(1.0), most=most)


def _fail(breakers: Breakers, provider: str, times: int = 2) -> None:
    for _ in range(times):
        admission = breakers.ask(provider)
        assert admission is not None
        breakers.troubled(admission, "cannot be reached")


def test_one_provider_that_is_down_holds_back_no_other() -> None:
    """Each provider has a breaker of its own; only one that is not closed is in `in_trouble`."""
    breakers = _breakers(ManualClock())
    _fail(breakers, "north")
    assert breakers.ask("north") is None
    assert breakers.ask("south") is not None
    assert breakers.in_trouble.keys() == {"north"}
    assert breakers.of("south").state is BreakerState.CLOSED


def test_it_is_probed_and_works_again() -> None:
    """After its time one is let through; an answer lets everything through."""
    clock = ManualClock()
    breakers = _breakers(clock)
    _fail(breakers, "north")
    clock.advance(4)
    probe = breakers.ask("north")
    assert probe is not None
    assert breakers.ask("north") is None
    breakers.unknown(probe)
    again = breakers.ask("north")
    assert again is not None
    breakers.answered(again)
    assert breakers.in_trouble == {}


def test_a_connection_that_lasted_closes_no_breaker() -> None:
    """It ends a row of failures; a provider that is down has to answer a probe."""
    breakers = _breakers(ManualClock())
    for _ in range(3):
        _fail(breakers, "north", POLICY.failures - 1)
        breakers.idle("north")
    assert breakers.in_trouble == {}
    _fail(breakers, "north")
    breakers.idle("north")
    assert breakers.in_trouble.keys() == {"north"}


def test_what_is_kept_back_says_why_and_when_to_look_again() -> None:
    """The outcome of an item that was not attempted names the fault and the next attempt."""
    clock = ManualClock()
    breakers = _breakers(clock)
    _fail(breakers, "north")
    item = ChallengeItem(
        client=base32_id("cli_", bytes(16)),
        channel="sms",
        attempt=1,
        code="K7QM2XPD",
        parameters={},
        expires_at=clock.now() + timedelta(minutes=2),
    )
    outcome = breakers.unavailable("north", item).outcome
    assert isinstance(outcome, ChallengeOutcome)
    assert outcome.kind is OutcomeKind.UNAVAILABLE
    assert outcome.detail == "the provider is down: cannot be reached"
    assert outcome.retry_after == 8.0


def test_a_host_that_is_down_with_all_its_urls_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Many URLs of a host go down, and are up again: one line each, and one for another host."""
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    breakers = _breakers(clock)
    names = [*(f"https://a#{number}" for number in range(5)), "https://b#0"]
    for name in names:
        _fail(breakers, name)
    down = [f"{each.levelname} {each.getMessage()}" for each in caplog.records]
    assert down == ["WARNING provider_down"] * 2
    clock.advance(8)
    for name in names:
        probe = breakers.ask(name)
        assert probe is not None
        breakers.answered(probe)
    assert [each.getMessage() for each in caplog.records[2:]] == ["provider_up"] * 2


def test_a_url_that_stays_down_hides_no_change_of_its_host(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While a URL of a host is down, a change of others is logged each minute, with the number of
    those that are down: the second of two that go down at once is in the next line.
    """
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    breakers = _breakers(clock)
    _fail(breakers, "https://a#dead")
    clock.advance(60)
    for name in ("https://a#1", "https://a#2"):
        _fail(breakers, name)
    clock.advance(60)
    for name in ("https://a#1", "https://a#2"):
        probe = breakers.ask(name)
        assert probe is not None
        breakers.answered(probe)
    fields = [(each.getMessage(), vars(each)) for each in caplog.records]
    assert [(message, of["provider"], of.get("host_down")) for message, of in fields] == [
        ("provider_down", "https://a#dead", 1),
        ("provider_down", "https://a#1", 2),
        ("provider_up", "https://a#1", 2),
    ]


def test_what_clients_name_takes_bounded_room() -> None:
    """Of many providers in trouble the ones that were used last are remembered."""
    breakers = _breakers(ManualClock(), most=3)
    for number in range(10):
        _fail(breakers, f"https://host-{number}")
    assert [*breakers.in_trouble] == [f"https://host-{number}" for number in (7, 8, 9)]
    assert breakers.ask("https://host-0") is not None
