"""The policy file of the README means what it says there."""

from __future__ import annotations

import re
from pathlib import Path

from aoi_events.bootstrap.plugins import installed_plugins
from aoi_events.bootstrap.policy_format import parse_policy
from aoi_events.contracts.identifiers import Mode, Urgency

README = (Path(__file__).parents[3] / "README.md").read_text()


def test_the_example_is_a_policy() -> None:
    """It is taken as it stands, and an application's section replaces what holds for all."""
    section = README.partition("\n## Which channels, and when\n")[2]
    found = re.search(r"^```toml\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert found is not None
    policy = parse_policy(found[1].encode(), installed_plugins(), file="README.md")
    every, mail = policy.rules_for("any"), policy.rules_for("org.example.mail")
    assert (every.mode, every.of("sms").least_urgency) == (Mode.FALLBACK, Urgency.HIGH)
    assert (mail.mode, mail.of("sms").least_urgency) == (Mode.HEDGED, Urgency.NORMAL)
    assert mail.of("sms").ack_within == every.of("sms").ack_within == 90
