"""The policy file's format: what it means, and what is said of what it cannot mean."""

from __future__ import annotations

import tomllib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.bootstrap.policy_format import MAX_FILE, parse_policy
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.domain.planning.policy import NO_RULES, ChannelRules, Rules
from aoi_events.errors import PolicyRefused

CHANNELS = ("websocket", "sms", "webpush")

WHOLE = """
mode = "hedged"
hedge_after = 3
preference = ["websocket", "webpush"]
most_cost = 1.5

[channels.sms]
least_urgency = "high"
ack_within = 90
largest = 100
cost = 1

[applications."org.example.mail"]
mode = "parallel"

[applications."org.example.mail".channels.sms]
least_urgency = "very-low"
"""


def faults(text: str | bytes) -> dict[str, str]:
    """What is said of each key of a file that is refused."""
    octets = text.encode() if isinstance(text, str) else text
    with pytest.raises(PolicyRefused) as refused:
        parse_policy(octets, CHANNELS, file="policy.toml")
    assert str(refused.value).startswith("policy file policy.toml: ")
    return dict(refused.value.faults)


def test_every_key_means_its_rule() -> None:
    """A file with all keys: rules for all, and for one application, which inherits the rest."""
    policy = parse_policy(WHOLE.encode(), CHANNELS, file="x")
    sms = ChannelRules(Urgency.HIGH, 90.0, 100, 1.0)
    every = Rules(Mode.HEDGED, 3.0, ("websocket", "webpush"), 1.5, {"sms": sms})
    assert policy.rules_for("anything") == every
    mail = policy.rules_for("org.example.mail")
    assert mail.mode is Mode.PARALLEL
    assert mail.most_cost == 1.5
    assert mail.of("sms") == ChannelRules(Urgency.VERY_LOW, 90.0, 100, 1.0)


def test_a_byte_order_mark_is_ignored() -> None:
    """An editor may write a byte order mark before the first key."""
    policy = parse_policy(WHOLE.encode("utf-8-sig"), CHANNELS, file="x")
    assert policy.rules_for("any") == parse_policy(WHOLE.encode(), CHANNELS, file="x").rules_for(
        "any"
    )


def test_an_empty_file_rules_nothing() -> None:
    """Nothing is required."""
    assert parse_policy(b"", CHANNELS, file="x").rules_for("any") == NO_RULES


@pytest.mark.parametrize(
    "text, key, said",
    [
        ('mode = "both"', "mode", "must be 'fallback', 'parallel' or 'hedged'"),
        ("mode = 1", "mode", "must be 'fallback', 'parallel' or 'hedged'"),
        ("hedge_after = 0", "hedge_after", "must be 0.1 or more"),
        ("hedge_after = nan", "hedge_after", "finite"),
        ('hedge_after = "2"', "hedge_after", "must be a number"),
        ("modus = 1", "modus", "no such key; did you mean mode?"),
        ("x = 1", "x", "no such key; there are mode, hedge_after"),
        ("most_cost = -1", "most_cost", "must be 0 or more"),
        ("most_cost = inf", "most_cost", "finite"),
        ('preference = ["smss"]', "preference[0]", "no channel 'smss'; did you mean sms?"),
        ('preference = ["fax"]', "preference[0]", "there are sms, webpush, websocket"),
        ('preference = ["sms", "sms"]', "preference", "twice"),
        ('preference = "sms"', "preference", "must be a list"),
        ("[channels.smss]", "channels.smss", "did you mean sms?"),
        ('[channels."S M S"]', 'channels."S M S"', "must have the form"),
        ("[channels.sms]\nurgency = 1", "channels.sms.urgency", "did you mean least_urgency?"),
        (
            '[channels.sms]\nleast_urgency = "higher"',
            "channels.sms.least_urgency",
            "must be 'very-low', 'low', 'normal' or 'high'",
        ),
        ("[channels.sms]\nlargest = 1.5", "channels.sms.largest", "must be a whole number"),
        ("[channels.sms]\nack_within = nan", "channels.sms.ack_within", "finite"),
        ("[channels.sms]\nack_within = 0", "channels.sms.ack_within", "0.1"),
        ("channels = 3", "channels", "must be an object"),
        (
            '[applications."a.b"]\npreference = ["fax"]',
            'applications."a.b".preference[0]',
            "no channel 'fax'",
        ),
        ('[applications."a b"]', 'applications."a b"', "must have the form"),
        (
            '[applications."a.b".channels.sms]\ncosts = 1',
            'applications."a.b".channels.sms.costs',
            "did you mean cost?",
        ),
        ("[applications.a.applications.b]", "applications.a.applications", "no such key"),
        ("mode = ", "", "is no TOML"),
        ("a = 1\na = 2", "", "is no TOML"),
        (b"\xff\xfe", "", "UTF-8"),
        (b"#" * (MAX_FILE + 1), "", "larger than"),
        (b"a = " + b"[" * 100_000, "", "nested too deeply"),
    ],
)
def test_what_is_wrong_is_named(text: str | bytes, key: str, said: str) -> None:
    """The key as it stands in the file, and what would be right."""
    found = faults(text)
    assert list(found) == [key]
    assert said in found[key]


def test_every_fault_is_named_at_once() -> None:
    """Nobody mends a file key by key; of very many there are the first twenty."""
    found = faults('mode = "x"\nhedge_after = -1\n[channels.sms]\ncost = "dear"')
    assert set(found) == {"mode", "hedge_after", "channels.sms.cost"}
    assert len(faults("\n".join(f"key{n} = 1" for n in range(100)))) == 20


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_octets_are_a_policy_or_refused(octets: bytes) -> None:
    """Nothing else comes out of a file."""
    with suppress(PolicyRefused):
        parse_policy(octets, CHANNELS, file="x")


VALUES = st.recursive(
    st.integers(-5, 5) | st.booleans() | st.sampled_from(["sms", "high", "hedged"]) | st.floats(),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
NAMES = ["mode", "hedge_after", "most_cost", "preference", "channels.sms.cost", "channels.sms.x"]


@given(st.dictionaries(st.sampled_from([*NAMES, "applications.a.mode"]), VALUES, max_size=4))
def test_any_values_are_a_policy_or_refused(values: dict[str, object]) -> None:
    """Known keys with any values, too: each fault names a key that stands there."""
    text = "\n".join(f"{name} = {_toml(value)}" for name, value in values.items())
    tomllib.loads(text)
    found: list[str] = []
    try:
        parse_policy(text.encode(), CHANNELS, file="x")
    except PolicyRefused as refused:
        found = [key for key, _ in refused.faults]
    for key in found:
        assert any(key.startswith(name) or name.startswith(key) for name in values)


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
