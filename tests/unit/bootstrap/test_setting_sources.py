"""Names of variables that are no settings, and the TOML file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aoi_events.bootstrap.setting_sources import check_once, read_file, unknown_names
from aoi_events.bootstrap.settings import Settings, load_settings
from aoi_events.errors import ConfigurationError


@pytest.mark.parametrize(
    "name, near",
    [
        ("AOI_CHANNEL__SMS__HOST", "AOI_CHANNELS__SMS__HOST"),
        ("AOI_CHANELS__WEBHOOK__ENABLED", "AOI_CHANNELS__WEBHOOK__ENABLED"),
        ("AOI_STORE_URL", "AOI_STORE"),
        ("AOI_STORE__URL", "AOI_STORE"),
        ("AOI_API_KEYS", "AOI_ENDPOINT__API_KEYS"),
        ("AOI_ENDPOINT_API_KEYS", "AOI_ENDPOINT__API_KEYS"),
        ("AOI_PUBLIC_URL", "AOI_ENDPOINT__PUBLIC_URL"),
        ("AOI_GATEWAY__PUBLIC_URL", "AOI_ENDPOINT__PUBLIC_URL"),
        ("AOI_CLIENT_URL", "AOI_CLIENT__URL"),
        ("AOI_LOGLEVEL", "AOI_LOG__LEVEL"),
        ("AOI_CONFG", "AOI_CONFIG"),
        ("aoi_stroe", "AOI_STORE"),
    ],
)
def test_a_name_that_is_meant_as_a_setting_is_refused(name: str, near: str) -> None:
    """It is refused with the nearest setting, however it is misspelt."""
    with pytest.raises(ConfigurationError) as refused:
        unknown_names(Settings, {name: "1"})
    assert str(refused.value) == f"settings: {name} is no setting; did you mean {near}?"


@pytest.mark.parametrize(
    "names",
    [
        ("AOI_STORE", "aoi_store"),
        ("AOI_ENDPOINT__API_KEYS__SHOP", "AOI_ENDPOINT__API_KEYS__shop"),
        ("AOI_CHANNELS__SMS__SMSCS", "AOI_CHANNELS__SMS__SMSCS__EU__HOST"),
        ("AOI_CHANNELS__SMS__HOST", "AOI_CHANNELS__SMS__HOST__NAME"),
    ],
)
def test_a_setting_that_is_there_twice(names: tuple[str, str]) -> None:
    """Both names are in the error, for one of the two would be ignored; an empty one is none."""
    with pytest.raises(ConfigurationError, match=f"{names[0]} and {names[1]} are one setting"):
        check_once(dict.fromkeys(names, "1"))
    check_once({names[0]: "1", names[1]: " "})


def test_a_section_and_its_settings_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections and maps as JSON go together with variables for what is in them."""
    monkeypatch.setenv("AOI_CHANNELS", '{"sms": {"smscs": {"eu": {"host": "a"}}}}')
    monkeypatch.setenv("AOI_CHANNELS__SMS__SMSCS__US__HOST", "b")
    monkeypatch.setenv("AOI_GATEWAY", '{"port": 1}')
    monkeypatch.setenv("AOI_GATEWAY__HOST", "::")
    settings = load_settings()
    assert settings.channels["sms"]["smscs"] == {"eu": {"host": "a"}, "us": {"host": "b"}}
    assert (settings.gateway.port, settings.gateway.host) == (1, "::")


def test_the_file_is_named_in_any_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``aoi_config`` names the file, as every setting may be in lower case."""
    (file := tmp_path / "aoi.toml").write_text("store_pool = 7")
    monkeypatch.setenv("aoi_config", str(file))
    assert load_settings().store_pool == 7


def test_names_of_other_programs_are_left_alone() -> None:
    """Variables of commands, compose, tests and scripts are not refused, and returned."""
    others = (
        "AOI_APPLICATION",
        "AOI_APPLICATION_SERVERS",
        "AOI_CA_BUNDLE",
        "AOI_DEBIAN_MIRROR",
        "AOI_DELIVERY",
        "AOI_IMAGE",
        "AOI_IMAGES",
        "AOI_INSTANCE",
        "AOI_POSTGRES_IMAGE",
        "AOI_PYTHON_IMAGE",
        "AOI_RABBITMQ_IMAGE",
        "AOI_TEST_RABBITMQ_IMAGE",
        "AOI_TEST_SEED",
    )
    environment = dict.fromkeys((*others, "AOI_LOG_DIR", "HOME", "MY_AOI__STORE"), "1")
    assert unknown_names(Settings, environment) == others


def test_settings_are_known() -> None:
    """Settings, names below a map, and sections as JSON are settings; lower case is as good."""
    names = "AOI_STORE aoi_store AOI_GATEWAY AOI_TOKEN_KEYS__K1 AOI_ENDPOINT__API_KEYS__A__B"
    names += " AOI_CHANNELS__OWN__ANYTHING AOI_CONFIG AOI_POLICY_FILE"
    assert unknown_names(Settings, dict.fromkeys(names.split(), "1")) == ()


def test_variables_of_kubernetes_are_left_alone() -> None:
    """A service `aoi-gateway` of Kubernetes puts variables into every container beside it."""
    made = {
        "AOI_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "AOI_GATEWAY_SERVICE_PORT_WS": "8090",
        "AOI_GATEWAY_PORT": "tcp://10.0.0.1:8090",
        "AOI_GATEWAY_PORT_8090_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_names(Settings, made) == ()
    with pytest.raises(ConfigurationError, match="did you mean AOI_GATEWAY__PORT"):
        unknown_names(Settings, {"AOI_GATEWAY_PORT": "8090"})


@pytest.mark.parametrize(
    "octets, words",
    [
        ('store = "a"'.encode("utf-16"), "is not UTF-8; save it as UTF-8"),
        ('store = "a"'.encode("utf-16-le"), "is not UTF-8; save it as UTF-8"),
        ('store = "ä"'.encode("latin-1"), "is not UTF-8; save it as UTF-8"),
        (b"store = [", "is no TOML"),
        (b"store = " + b"[" * 100_000, "is no TOML"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, octets: bytes, words: str) -> None:
    """A file in another encoding or format is refused in one line with its name."""
    file = tmp_path / "aoi.toml"
    file.write_bytes(octets)
    _is_refused(str(file), f"{file}, which {words}")


@pytest.mark.parametrize(
    "path, words",
    [
        ("missing.toml", "missing.toml, which is no file"),
        ("/", "/: Is a directory"),
        ("/dev/zero", "/dev/zero: not a regular file"),
        ("x" * 300, ": File name too long"),
        ("/etc/passwd/x", ": Not a directory"),
    ],
)
def test_a_path_that_names_no_file(path: str, words: str) -> None:
    """A path that leads to no file is refused in one line that says why."""
    _is_refused(path, words)


def _is_refused(path: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_file(path)
    text = str(refused.value)
    assert text.startswith("AOI_CONFIG names ")
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "toml, words",
    [
        ("[gateway]\nprot = 1", "AOI_GATEWAY__PROT is no setting; did you mean AOI_GATEWAY__PORT?"),
        ("nonsense = 1", "AOI_NONSENSE is no setting; `aoi settings` lists them all"),
        ("[gateway]\nPort = 1", "AOI_GATEWAY__PORT: must be in lower case in the file: port"),
    ],
)
def test_a_name_of_the_file_that_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, toml: str, words: str
) -> None:
    """It is refused as the variable of the same meaning would be."""
    (tmp_path / "aoi.toml").write_text(toml)
    monkeypatch.setenv("AOI_CONFIG", str(tmp_path / "aoi.toml"))
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        load_settings()
