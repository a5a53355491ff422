"""What a worker finds out about how a provider spells IDs in its receipts."""

from __future__ import annotations

from typing import Any

import pytest

from aoi_events.ports.channel import Receipt, Spelled
from aoi_events.services.channel.matching import Match
from aoi_events.services.channel.spelling import SpellingsFound
from tests.support.rows import a_provider_message

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


def test_a_provider_whose_receipts_keep_missing_is_a_warning_with_both_spellings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After five in a row, and not again with each further one."""
    found = SpellingsFound("sms")
    for _ in range(20):
        found.missed(receipt())
    [warning] = warnings(caplog)
    assert warning["provider"] == "eu"
    assert (warning["in_receipt"], warning["in_response"]) == ("12107282", "00B8BE12")


def test_misses_between_matches_are_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Another system may share the account, and receipts may come after their time."""
    found = SpellingsFound("sms")
    for _ in range(20):
        found.missed(receipt())
        found.missed(receipt("us"))
        found.matched(receipt(), exact())
        found.matched(receipt("us"), respelled("decimal"))
    assert warnings(caplog) == []


def test_a_text_that_may_be_a_telephones_is_no_miss(caplog: pytest.LogCaptureFixture) -> None:
    """It says nothing about how the provider spells IDs."""
    found = SpellingsFound("sms")
    for _ in range(20):
        found.missed(receipt(sure=False))
    assert warnings(caplog) == []
