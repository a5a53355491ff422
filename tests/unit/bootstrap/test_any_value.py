"""Any value of any setting is taken, or refused in one line that an operator understands."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel, SecretStr

from aoi_events.bootstrap.plugins import configure, installed_plugins
from aoi_events.bootstrap.settings import Settings, load_settings
from aoi_events.cli.settings import every_setting
from aoi_events.errors import ConfigurationError

VALUES: Final = (
    "\n",
    "wörd",
    "\udcff",
    "[1",
    '["x", {}]',
    '{"a": {"b": [1]}}',
    '{"a": "x\\u0000"}',
    "null",
    "true",
    "inf",
    "nan",
    "5e-324",
    "1e12",
    "1000000000000",
    "-1",
    "99999",
    "a..b",
    "::",
    "http://[",
    "x" * 10_000,
    "[" * 20_000,
    '{"a":' * 20_000,
    "[" * 150 + "]" * 150,
    "/",
)
"""Values for environment variables, which cannot have a NUL."""

TOML: Final = (
    "5",
    "true",
    "[true]",
    "1e12",
    "inf",
    "nan",
    '"wörd"',
    '"a\\u0000b"',
    '" "',
    "[]",
    "[1, {}]",
    "{ a = 1 }",
    "{ a = { b = [1] } }",
    "[" * 300 + "]" * 300,
    "12:00:00",
)
"""Values for the TOML file."""

VARIABLES: Final = tuple(each.variable for each in every_setting())
_PLUGINS: Final = installed_plugins()
_OF_THE_VALIDATOR: Final = re.compile(
    r"regular expression|input should|\[type=|validation|tuple|str\b|dict|<|lax|JSON object",
    re.IGNORECASE,
)


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("AOI_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=[name for name in VARIABLES if name != "AOI_CONFIG"])
def variable(request: pytest.FixtureRequest) -> str:
    """Each setting but the name of the file."""
    return str(request.param)


def test_a_variable_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Each value is refused with the variable's name in one line, or every number is finite."""
    for value in VALUES:
        monkeypatch.setenv(variable, value)
        _taken_or_refused(variable, value)


def test_a_value_of_the_file_is_taken_or_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    """The same for the TOML file, whose values have types and may have control characters."""
    monkeypatch.setenv("AOI_CONFIG", "aoi.toml")
    *section, name = variable.removeprefix("AOI_").lower().split("__")
    for value in TOML:
        table = f"[{'.'.join(section)}]\n" if section else ""
        (tmp_path / "aoi.toml").write_text(f"{table}{name} = {value}\n", encoding="utf-8")
        _taken_or_refused(variable, value)


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t"])
def test_white_space_at_the_end_changes_nothing(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """A variable that was read from a file may end with a line break, and begin with a space."""
    defaults = {each.variable: each.default for each in every_setting() if each.default}
    for variable, default in defaults.items():
        monkeypatch.setenv(variable, default)
    before = _loaded()
    for variable, default in defaults.items():
        monkeypatch.setenv(variable, f" {default}{end}")
    assert _loaded()[1:] == before[1:]
    assert _without_channels(_loaded()) == _without_channels(before)


@pytest.mark.parametrize(
    "variable, value, read",
    [
        ("AOI_ENDPOINT__API_KEYS__shop", "a" * 64 + "\n", "a" * 64),
        ("AOI_ENDPOINT__API_KEYS", f'{{"shop": "{"a" * 64}\\n"}}', "a" * 64),
        ("AOI_CHANNELS__SMS__PASSWORD", "secret\n", "secret"),
        ("AOI_CHANNELS__SMS__REFERENCE_BITS", "8", 8),
        ("AOI_CHANNELS__SMS__SMSCS", '{"eu": {"host": "smsc.example.org"}}', "smsc.example.org"),
        ("AOI_CHANNELS__SMS__PREFIXES", '["+31", "+49"]', "+49"),
        ("AOI_CHANNELS__SMS__PREFIXES", "+31, +49", "+49"),
        ("AOI_CHANNELS__WEBHOOK__NETWORKS", '["10.0.0.0/8",\n "::1"]', "10.0.0.0/8"),
    ],
)
def test_what_the_settings_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, read: Any
) -> None:
    """Secrets lose a line break at the end, also inside JSON; JSON may have several lines."""
    monkeypatch.setenv(variable, value)
    assert read in {str(each) if not isinstance(each, int) else each for each in _values(_loaded())}


@pytest.mark.parametrize(
    "toml, words",
    [
        ("batch = true", "AOI_BATCH: must be a whole number"),
        ("[gateway]\nport = true", "AOI_GATEWAY__PORT: must be a whole number"),
        ("[policy]\nretry_first = true", "AOI_POLICY__RETRY_FIRST: must be a number"),
        ("[client]\nusers = [true]", "AOI_CLIENT__USERS__0: must be a whole number"),
        ("[channels.sms]\nrate = true", "AOI_CHANNELS__SMS__RATE: must be a number"),
        ("[channels.sms.smscs.eu]\nwindow = true", "SMS__SMSCS__EU__WINDOW: must be a whole"),
        ("[channels.webhook]\nports = [true]", "AOI_CHANNELS__WEBHOOK__PORTS__0: must be a whole"),
        (
            "[channels.webhook]\nnetworks = [5]",
            "AOI_CHANNELS__WEBHOOK__NETWORKS__0: must be an add",
        ),
        ("[endpoint]\nproxies = [true]", "AOI_ENDPOINT__PROXIES__0: must be an address or a netw"),
        ("store = 5", "AOI_STORE: must be text"),
        ("key_file = true", "AOI_KEY_FILE: must be the path of a file"),
    ],
)
def test_types_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, toml: str, words: str
) -> None:
    """A boolean is no number, and a number is no text."""
    (tmp_path / "aoi.toml").write_text(toml)
    monkeypatch.setenv("AOI_CONFIG", "aoi.toml")
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        _loaded()


@pytest.mark.parametrize(
    "toml, read",
    [('" ab "', " ab "), ('" ab \\r\\n"', " ab "), ('"""ab\n"""', "ab")],
)
def test_spaces_of_a_password_in_quotes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, toml: str, read: str
) -> None:
    """They stay in the file, where a variable loses them; line breaks are removed in both."""
    (tmp_path / "aoi.toml").write_text(f"[channels.sms]\npassword = {toml}\n")
    monkeypatch.setenv("AOI_CONFIG", "aoi.toml")
    assert read in set(map(str, _values(_loaded())))
    monkeypatch.setenv("AOI_CHANNELS__SMS__PASSWORD", " cd \r\n")
    assert "cd" in set(map(str, _values(_loaded())))


@pytest.mark.parametrize(
    "variable, value, words",
    [
        ("AOI_GATEWAY__HOST", "a..b", "must be a host name or an IP address without brackets"),
        ("AOI_CHANNELS__SMS__HOST", "[::1]", "must be a host name or an IP address"),
        ("AOI_ENDPOINT__PROXIES", '["nonsense"]', "must be an address or a network"),
        ("AOI_ENDPOINT__PROXIES", '["::ffff:10.0.0.1"]', "must be in the form of IPv4"),
        ("AOI_POLICY__PROOF_HOLDS", "inf", "must be a finite number"),
        ("AOI_POLICY__RETRY_FIRST", "0.0001", "must be 0.001 or more"),
        ("AOI_POLICY__PARKED_PER_SENDER", "10000000000", "must be 1000000000 or less"),
        ("AOI_ENDPOINT__API_KEYS__shop", "ABC", "must be the 64 hexadecimal digits of `aoi keys"),
        (
            "AOI_ENDPOINT__API_KEYS",
            f'{{"a b": "{"a" * 64}"}}',
            "must be a name of up to 64 letters",
        ),
        ("AOI_ENDPOINT__PROXIES", "10.0.0.1", 'AOI_ENDPOINT__PROXIES: must be JSON, like ["a"'),
        ("AOI_CHANNELS__SMS__PREFIXES", "0031", "must be the beginning of a number, like +31"),
        ("AOI_CHANNELS__WEBPUSH__PUBLIC_KEY", "x", "must be a VAPID public key"),
        ("AOI_CHANNELS__WEBHOOK__PORTS", "[true]", "WEBHOOK__PORTS__0: must be a whole number"),
        ("AOI_CLIENT__USERS", "[true]", "AOI_CLIENT__USERS__0: must be a whole number"),
        ("AOI_CHANNELS__SMS__SMSCS", "x", 'SMSCS: must be JSON, like {"a": "b"}'),
        ("AOI_CHANNELS__SMS__HOTS", "x", "is no setting; did you mean AOI_CHANNELS__SMS__HOST?"),
        ("AOI_STORE", "sqlite:///" + "x" * 10_000, "must have 4096 or fewer characters"),
        ("AOI_STORE", "sqlite:///a\nb", "must not have control characters"),
    ],
)
def test_the_words(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str) -> None:
    """A refusal says what to write."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        _loaded()


def _loaded() -> list[BaseModel]:
    settings = load_settings()
    settings.policy.policies()
    if settings.channels:
        configure(_PLUGINS, settings.channels)
    channels = [
        _PLUGINS[kind].settings_model.model_validate(section)
        for kind, section in settings.channels.items()
    ]
    return [settings, *channels]


def _without_channels(read: list[BaseModel]) -> dict[str, Any]:
    return read[0].model_dump(exclude={"channels"})


def _taken_or_refused(variable: str, value: str) -> None:
    place = variable if "__PRIVATE_KEY" not in variable else variable.rpartition("__")[0]
    try:
        read = _loaded()
    except ConfigurationError as error:
        text = str(error)
    else:
        numbers = [each for each in _values(read) if isinstance(each, float)]
        assert all(map(math.isfinite, numbers)), value
        # Times and rates below it would make loops that never pause, and waits without end.
        small = variable.endswith(("__COST", "__SETTLE", "CLOSE_AFTER"))
        assert all(each == 0 or each >= 0.001 or small for each in numbers), value
        texts = [each for each in _values(read) if isinstance(each, str)]
        password = variable.endswith("PASSWORD")
        assert all((each == each.strip() or password) and "\0" not in each for each in texts), value
        return
    assert text.startswith(f"settings: {place}"), value[:50]
    assert "\n" not in text
    assert not _OF_THE_VALIDATOR.search(text.replace(variable, "")), text


def _values(value: Any) -> Iterator[Any]:
    """All values in these settings, of any depth."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from _values([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, dict):
        yield from _values(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, str) and hasattr(value, "__len__"):
        for each in value:
            yield from _values(each)
    else:
        yield value


def test_every_setting_is_one_of_these() -> None:
    """The list of settings is that of the model, so that a new one is tried, too."""
    top = {name.removeprefix("AOI_").partition("__")[0].lower() for name in VARIABLES}
    assert top - {"config"} == set(Settings.model_fields)
