"""Which SMSC takes a number, and how fast it is sent to."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aoi_events.channels.sms import SmsSettings
from aoi_events.channels.sms.rate_limit import RateLimit
from aoi_events.channels.sms.routing import routes
from aoi_events.channels.sms.settings import SmscSettings
from tests.support.pages import block

numbers = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
prefixes = st.from_regex(r"\+[1-3][0-3]{0,3}", fullmatch=True)
tables = st.dictionaries(
    st.sampled_from("abcde"),
    st.lists(prefixes, max_size=3).map(lambda own: SmscSettings(host="h", prefixes=tuple(own))),
)


def table(**prefixes: str) -> dict[str, SmscSettings]:
    """SMSCs with these prefixes."""
    return {
        name: SmscSettings.model_validate({"host": "h", "prefixes": own.split()})
        for name, own in prefixes.items()
    }


@pytest.mark.parametrize(
    "number, names",
    [
        ("+31600000001", ["mobile", "nl", "backup", "world"]),
        ("+31200000001", ["nl", "backup", "world"]),
        ("+49170000001", ["backup", "world"]),
        ("+15550100000", ["world"]),
    ],
)
def test_the_longest_prefix_comes_first(number: str, names: list[str]) -> None:
    """Then shorter ones, in the order of the table where they are equal, and last who takes all."""
    smscs = table(world="", nl="+31", backup="+49 +31", mobile="+316 +317")
    assert routes(number, smscs) == names


def test_a_number_that_nobody_takes_has_no_route() -> None:
    """Also where it begins like half a prefix."""
    smscs = table(nl="+31", antilles="+5999")
    assert routes("+4917000000", smscs) == routes("+5998000000", smscs) == []
    assert routes("", smscs) == []


@given(numbers, tables)
def test_routes_are_those_that_take_the_number_once_each(
    number: str, smscs: dict[str, SmscSettings]
) -> None:
    """No SMSC is left out that takes it, none is asked that does not, and no shorter prefix stands
    before a longer one.
    """
    found = routes(number, smscs)
    fits = {
        name: [len(prefix) for prefix in smsc.prefixes if number.startswith(prefix)]
        for name, smsc in smscs.items()
    }
    assert sorted(found) == sorted(name for name in smscs if fits[name] or not smscs[name].prefixes)
    lengths = [max(fits[name], default=0) for name in found]
    assert lengths == sorted(lengths, reverse=True)


def test_one_smsc_or_a_table_of_several() -> None:
    """The flat settings are one SMSC; a table replaces it, and takes lists as one text, too."""
    one = SmsSettings.model_validate({"host": "smsc.example", "system_id": "me"})
    assert list(one.providers) == ["me@smsc.example:2775"]
    several = SmsSettings.model_validate(
        {"smscs": {"eu": {"host": "a", "prefixes": "+31, +49", "rate": 5}, "us": {"host": "b"}}}
    )
    assert list(several.providers) == ["eu", "us"]
    assert several.providers["eu"].prefixes == ("+31", "+49")
    assert not SmsSettings().providers
    beside = SmsSettings.model_validate({"port": 2775, "smscs": {"eu": {"host": "a"}}})
    assert list(beside.providers) == ["eu"]  # a setting that has its default is as good as unset


def test_the_documented_table_is_one() -> None:
    """The documented table is valid, and numbers go to the SMSCs that it names."""
    given = tomllib.loads(block("docs/how-to/sms.md", "toml"))
    settings = SmsSettings.model_validate(given["channels"]["sms"])
    assert routes("+31600000001", settings.providers) == ["eu", "world"]
    assert routes("+15550100000", settings.providers) == ["world"]
    assert settings.providers["eu"].rate == 50
    assert settings.providers["world"].bind == "transmitter_receiver"


def test_the_documented_variables_are_settings() -> None:
    """Each line of them sets a setting of the SMSC."""
    found = re.findall(
        r"^export AOI_CHANNELS__SMS__(\w+)=(\S+)$", block("docs/how-to/sms.md", "sh"), re.MULTILINE
    )
    settings = SmsSettings.model_validate({name.lower(): value for name, value in found})
    assert list(settings.providers) == ["aoi@smsc.example:2775"]
    assert settings.password.get_secret_value() == "secret"


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"host": "a", "smscs": {"eu": {"host": "b"}}}, "not both"),
        (
            {"smscs": {"eu": {"host": "b"}}, "tls": True, "ca_file": "ca.pem", "password": "s"},
            "not ca_file, password, tls: with smscs they are of no effect",
        ),
        ({"smscs": {"eu": {"port": 1}}}, "smscs.eu.host"),
        ({"smscs": {"EU 1": {"host": "b"}}}, "must be up to 32"),
        ({"smscs": {"eu": {"host": "b", "prefixes": ["31"]}}}, "like \\+31"),
        ({"smscs": {"eu": {"host": "b", "rate": 0}}}, "greater than or equal to 0.001"),
        ({"smscs": {"eu": {"host": "b", "parts": 2}}}, "not permitted"),
    ],
)
def test_a_table_that_cannot_work_says_why(settings: dict[str, object], said: str) -> None:
    """Where, and what to set instead."""
    with pytest.raises(ValidationError, match=said):
        SmsSettings.model_validate(settings)


@given(
    st.floats(0.1, 1000),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), max_size=50),
)
def test_a_pace_is_kept_whenever_it_is_asked(rate: float, asked: list[tuple[float, float]]) -> None:
    """No two messages closer than the rate allows, none after its time, none earlier than now; and
    what was not given took no place.
    """
    pace, now, gone = RateLimit(rate), 0.0, [-1e9]
    for later, patience in asked:
        now += later
        wait = pace.wait(now)
        given = pace.take(now, now + patience)
        if given is None:
            assert wait > patience
            assert pace.wait(now) == wait
        else:
            assert 0 <= given <= patience
            gone.append(now + given)
    assert all(b - a >= 1 / rate - 1e-6 for a, b in pairwise(gone))


def test_without_a_rate_everything_goes_at_once() -> None:
    """Without a rate, only the window limits submissions."""
    pace = RateLimit(None)
    assert [pace.take(5.0, 5.0) for _ in range(100)] == [0.0] * 100


def test_the_password_is_never_shown() -> None:
    """Settings can be printed and logged."""
    settings = SmsSettings.model_validate({"host": "smsc.example", "password": "s3cret"})
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings.providers)
