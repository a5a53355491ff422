"""What a worker finds out about how a provider spells IDs in its receipts."""

from __future__ import annotations

from typing import Any

import pytest

from aoi_events.ports.channel import Receipt
from aoi_events.services.channel.spelling import SpellingsFound


def receipt(provider: str = "eu", **changes: Any) -> Receipt:
    """A receipt of a provider."""
    return Receipt(
        f"{provider} 12107282", "rejected", provider=provider, latest="00B8BE12", **changes
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the operator was warned of."""
    return [vars(record) for record in caplog.records if record.levelname == "WARNING"]


def test_a_spelling_is_learned_from_a_match_and_given_up_by_an_exact_one() -> None:
    """Each provider for itself; what its operator set comes first."""
    found = SpellingsFound("sms")
    assert found.usual(receipt()) is None
    found.matched(receipt(), "decimal")
    assert found.usual(receipt()) == "decimal"
    assert found.usual(receipt("us")) is None
    assert found.usual(receipt(usual="hexadecimal")) == "hexadecimal"
    found.matched(receipt(), None)
    assert found.usual(receipt()) is None


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
        found.matched(receipt(), None)
        found.matched(receipt("us"), "decimal")
    assert warnings(caplog) == []
