"""The policy file of the documentation means what it says there."""

from __future__ import annotations

from aoi_events.bootstrap.plugins import installed_plugins
from aoi_events.bootstrap.policy_format import parse_policy
from aoi_events.contracts.identifiers import Mode, Urgency
from tests.support.pages import block

PAGE = "docs/how-to/policy.md"


def test_the_example_is_a_policy() -> None:
    """It is taken as it stands, and an application's section replaces what holds for all."""
    policy = parse_policy(block(PAGE, "toml").encode(), installed_plugins(), file=PAGE)
    every, mail = policy.rules_for("any"), policy.rules_for("org.example.mail")
    assert (every.mode, every.of("sms").least_urgency) == (Mode.FALLBACK, Urgency.HIGH)
    assert (mail.mode, mail.of("sms").least_urgency) == (Mode.HEDGED, Urgency.NORMAL)
    assert mail.of("sms").ack_within == every.of("sms").ack_within == 90
