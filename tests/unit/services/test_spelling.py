"""What a worker finds out about how a provider spells IDs in its receipts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aoi_events.ports.channel import Receipt, Spelled
from aoi_events.services.channel.matching import Match
from aoi_events.services.channel.spelling import SpellingsFound
from aoi_events.telemetry.prometheus import PrometheusMetrics
from tests.support.counts import value
from tests.support.rows import NOW, a_provider_message

NUMBER = "0000001"


def receipt(provider: str = "eu", *, id_: str = "12107282", **changes: Any) -> Receipt:
    """A receipt of a provider, whose ID may be decimal."""
    return Receipt(
        f"{provider} {id_}",
        "rejected",
        spellings=(Spelled("decimal", f"{provider} {int(id_):x}"),),
        addresses=(NUMBER,),
        provider=provider,
        latest="00B8BE12",
        **changes,
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the operator was warned of."""
    return [vars(record) for record in caplog.records if record.levelname == "WARNING"]


def exact(id_: str = "12107282", number: str = NUMBER) -> Match:
    """A match with the message under this very ID."""
    return Match(a_provider_message(1, message=f"eu {id_}", address=number))


def respelled(how: str) -> Match:
    """A match by another spelling."""
    return Match(exact("00B8BE12").message, how)


def test_a_spelling_is_learned_from_a_match_and_given_up_by_an_exact_one() -> None:
    """Each provider for itself; what its operator set comes first."""
    found = SpellingsFound("sms")
    assert found.usual(receipt()) is None
    found.matched(receipt(), respelled("decimal"))
    assert found.usual(receipt()) == "decimal"
    assert found.usual(receipt("us")) is None
    assert found.usual(receipt(usual="hexadecimal")) == "hexadecimal"
    found.matched(receipt(), exact())
    assert found.usual(receipt()) is None


@pytest.mark.parametrize("id_, number", [("7", NUMBER), ("12107282", ""), ("12107282", "9999999")])
def test_an_exact_match_that_shows_no_base_gives_no_spelling_up(id_: str, number: str) -> None:
    """An ID that is the same in both bases, or a message whose number does not agree."""
    found = SpellingsFound("sms")
    found.matched(receipt(), respelled("decimal"))
    found.matched(receipt(id_=id_), exact(id_, number))
    assert found.usual(receipt()) == "decimal"


def test_a_text_that_may_be_a_telephones_teaches_nothing() -> None:
    """One person's SMS must not decide how the receipts of all others are read."""
    found = SpellingsFound("sms")
    found.matched(receipt(sure=False), respelled("decimal"))
    assert found.usual(receipt()) is None
    found.matched(receipt(), respelled("decimal"))
    found.matched(receipt(sure=False), exact())
    assert found.usual(receipt()) == "decimal"


def test_a_provider_whose_receipts_keep_missing_is_a_warning_with_both_spellings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the first five, and then once an hour."""
    found = SpellingsFound("sms")
    for minute in range(119):
        found.missed(receipt(), NOW + timedelta(minutes=minute))
        assert len(warnings(caplog)) == (minute >= 4) + (minute >= 64)
    warning = warnings(caplog)[0]
    assert (warning["provider"], warning["missed"], warning["of"]) == ("eu", 5, 5)
    assert (warning["in_receipt"], warning["in_response"]) == ("12107282", "00B8BE12")


@pytest.mark.parametrize("one_in, warned", [(3, True), (10, True), (20, False), (50, False)])
def test_a_steady_share_of_misses_is_a_warning_and_single_ones_are_none(
    caplog: pytest.LogCaptureFixture, one_in: int, warned: bool
) -> None:
    """Between matches, too: a tenth of the last 50. Each provider counts for itself."""
    found = SpellingsFound("sms")
    for number in range(200):
        if number % one_in == 0:
            found.missed(receipt(), NOW)
        else:
            found.matched(receipt(), exact())
        found.matched(receipt("us"), respelled("decimal"))
    assert [each["provider"] for each in warnings(caplog)] == ["eu"] * warned


def test_a_text_that_may_be_a_telephones_is_no_miss(caplog: pytest.LogCaptureFixture) -> None:
    """It says nothing about how the provider spells IDs, and is counted apart."""
    metrics = PrometheusMetrics(channels=["sms"], queues=[])
    metrics.providers(["eu"])
    found = SpellingsFound("sms", metrics)
    for _ in range(20):
        found.missed(receipt(sure=False), NOW)
    found.missed(receipt(), NOW)
    found.missed(receipt(), NOW, dropped=True)
    found.matched(receipt(), exact())
    found.matched(receipt(), respelled("decimal"))
    assert warnings(caplog) == []
    counts = {"unmarked": 20, "unknown": 1, "dropped": 1, "exact": 1, "respelled": 1}
    for result, number in counts.items():
        labels = {"channel": "sms", "provider": "eu", "result": result}
        assert value(metrics, "aoi_receipts_total", **labels) == number
