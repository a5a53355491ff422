"""Settings that cannot work: every command says which one, and what to set instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events.bootstrap.keys import load_key_file
from tests.support.commands import Cli


@pytest.mark.parametrize(
    "variable, value, told",
    [
        ("AOI_POLICY__BACKLOG", "0", "AOI_POLICY__BACKLOG: must be 1 or more"),
        ("AOI_POLICY__KEEP_SETTLED", "60", "AOI_POLICY__KEEP_SETTLED: must be"),
        ("AOI_GATEWAY__PORT", "99999", "AOI_GATEWAY__PORT: must be 65535 or less"),
        ("AOI_HEALTH__ENABLED", "perhaps", "AOI_HEALTH__ENABLED: must be true or false"),
        ("AOI_LOG__FORMAT", "xml", "AOI_LOG__FORMAT: must be 'auto', 'json' or 'console'"),
        ("AOI_GATEWAY_USERS", "aoi-gateway", "AOI_GATEWAY_USERS: must be JSON"),
        ("AOI_POLICY__BACKLOGG", "3", "is no setting; did you mean AOI_POLICY__BACKLOG?"),
        ("AOI_CHANNELS__SMS__PORT", "x", "AOI_CHANNELS__SMS__PORT: must be a whole number"),
        ("AOI_CHANNELS__PIGEON__LOFT", "1", "AOI_CHANNELS__PIGEON: there is no plug-in 'pigeon'"),
        ("AOI_BACTH", "3", "AOI_BACTH is no setting; did you mean AOI_BATCH?"),
        ("AOI_POLICY_BACKLOG", "3", "is no setting; did you mean AOI_POLICY__BACKLOG?"),
        ("AOI_GATEWAY_PORT", "1", "is no setting; did you mean AOI_GATEWAY__PORT?"),
        (
            "AOI_STORE",
            "postgresql://u:p@ss:hidden@h/d",
            "AOI_STORE: the store's URL cannot be read",
        ),
        ("AOI_STORE", "postgresql://u:hidden@h:port/d", "the store's URL cannot be read"),
        ("AOI_BROKER", "amqp://u:hidden@h:70000/v", "the broker's URL cannot be read"),
        ("AOI_BROKER", "amqp://u:hidden@", "AOI_BROKER: the broker's URL has no valid host"),
        ("AOI_BROKER", "amqp://u:hidden@a..b", "AOI_BROKER: the broker's URL has no valid host"),
        ("AOI_BROKER", "amqp://u:hidden@a,", "AOI_BROKER: the broker's URL has no valid host"),
        ("AOI_BROKER", "amqp://u:hidden@a,amqp://b", "must be one URL that lists its hosts"),
        ("AOI_BROKER", "amqp://u:hidden@[::1", "AOI_BROKER: the broker's URL cannot be read"),
        ("AOI_BROKER_MANAGEMENT", "http://u:hidden@h", "must be http://USER:PASSWORD@HOST:PORT"),
        ("AOI_BROKER_MANAGEMENT", "ftp://u:hidden@h:1", "must be http://USER:PASSWORD@HOST:PORT"),
        ("AOI_BROKER_MANAGEMENT", "http://u:hidden@[:1", "must be http://USER:PASSWORD@HOST:PORT"),
        ("AOI_BROKER", "memory://[", "AOI_BROKER: the broker's URL cannot be read"),
        ("AOI_STORE", "sqlite://two.sqlite3", "must be sqlite:///PATH (three slashes"),
        ("AOI_STORE", "sqlite:///file:a.db?uri=true", "must be sqlite:///PATH (three slashes"),
        ("AOI_STORE", "sqlite:///a.db?timeout=nan", "must be sqlite:///PATH (three slashes"),
        ("AOI_STORE", "sqlite:////", "AOI_STORE: / is no regular file; name another"),
        ("AOI_STORE", "sqlite:////dev/null", "AOI_STORE: /dev/null is no regular file"),
        ("AOI_STORE", "sqlite:///a%00b", "AOI_STORE: the store's URL for SQLite must be"),
        ("AOI_STORE", "sqlite:///no/a.db", "AOI_STORE: there is no folder"),
        ("AOI_STORE", "sqlite:///" + "x" * 300, "x: File name too long"),
        ("AOI_STORE", "sqlite:////etc/passwd", "/etc/passwd is not a database of SQLite"),
        ("AOI_KEY_FILE", "/dev/zero", "AOI_KEY_FILE: cannot read /dev/zero: not a regular file"),
        ("AOI_KEY_FILE", "/", "AOI_KEY_FILE: cannot read /: Is a directory"),
        ("AOI_KEY_FILE", "x" * 300, "x: File name too long"),
        (
            "AOI_KEY_FILE",
            "no/keys.json",
            "AOI_KEY_FILE: cannot write no/keys.json: No such",
        ),
        ("AOI_POLICY_FILE", "/", "AOI_POLICY_FILE: policy file /: cannot be read: Is a directory"),
        ("AOI_STORE", "mysql://a:hidden@b/c", "the store cannot be 'mysql'; use sqlite"),
        ("AOI_BROKER", "http://a:hidden@b/c", "no broker speaks 'http'; give amqp://"),
        ("AOI_CONFIG", "missing.toml", "AOI_CONFIG names missing.toml, which is no file"),
        ("AOI_TOKEN_KEYS", '{"k1": "hidden"}', "set both AOI_TOKEN_KEYS and AOI_CHALLENGE_KEY"),
    ],
)
def test_up_names_the_setting(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    """``aoi up`` ends with 78 at once, names the setting and repeats no secret."""
    monkeypatch.setenv(variable, value)
    ran = cli("up")
    assert ran.code == 78
    assert told in ran.err
    assert "hidden" not in ran.err


def test_keys_of_the_environment_that_are_none(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are not base64 are refused with the names of their settings."""
    monkeypatch.setenv("AOI_TOKEN_KEYS__K1", "hidden!")
    monkeypatch.setenv("AOI_CHALLENGE_KEY", "hidden!")
    ran = cli("keys", "list")
    assert ran.code == 78
    assert "AOI_TOKEN_KEYS and AOI_CHALLENGE_KEY: a server key is not base64" in ran.err
    assert "hidden" not in ran.err


def test_a_key_file_that_nests_too_deep(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is refused as any other file that has no keys."""
    (tmp_path / "k.json").write_text("[" * 100_000)
    monkeypatch.setenv("AOI_KEY_FILE", "k.json")
    ran = cli("keys", "list")
    assert (ran.code, ran.err.count("\n")) == (78, 1)
    assert "AOI_KEY_FILE: k.json is no key file" in ran.err


@pytest.mark.parametrize("command", ["status n1", "dead list"])
@pytest.mark.parametrize(
    "path, words",
    [("no/a.db", "AOI_STORE: there is no folder"), ("/dev/zero", "is no regular file")],
)
def test_commands_name_the_store(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, path: str, words: str
) -> None:
    """Commands that make no database end with 78 as well where there can be none."""
    monkeypatch.setenv("AOI_STORE", f"sqlite:///{path}")
    ran = cli(*command.split())
    assert ran.code == 78
    assert words in ran.err


def test_a_file_that_is_no_toml(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AOI_CONFIG with a syntax error is told with the file's name."""
    (tmp_path / "aoi.toml").write_text("store = [")
    monkeypatch.setenv("AOI_CONFIG", "aoi.toml")
    ran = cli("status", "n1")
    assert ran.code == 78
    assert "AOI_CONFIG names aoi.toml, which is no TOML" in ran.err


def test_a_file_that_is_not_utf8(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AOI_CONFIG in another encoding is refused in one line with the file's name."""
    (tmp_path / "aoi.toml").write_bytes('store = "ä"'.encode("latin-1"))
    monkeypatch.setenv("AOI_CONFIG", "aoi.toml")
    ran = cli("status", "n1")
    assert (ran.code, ran.err.count("\n")) == (78, 1)
    assert "AOI_CONFIG names aoi.toml, which is not UTF-8" in ran.err


def test_files_with_a_byte_order_mark_are_read(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor may write a byte order mark before the settings (TOML) and the keys (JSON)."""
    settings = 'key_file = "k.json"\nstore = "sqlite:///file.sqlite3"\n'
    (tmp_path / "aoi.toml").write_text(settings, encoding="utf-8-sig")
    monkeypatch.setenv("AOI_CONFIG", "aoi.toml")
    assert cli("keys", "new").code == 0
    keys = tmp_path / "k.json"
    before = load_key_file(keys).challenge_key
    keys.write_text(keys.read_text(), encoding="utf-8-sig")
    assert load_key_file(keys).challenge_key == before


def test_the_environment_wins_over_the_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What both set is taken from the environment, the rest from the file."""
    (tmp_path / "aoi.toml").write_text('store = "sqlite:///file.sqlite3"\nkey_file = "k.json"\n')
    monkeypatch.setenv("AOI_CONFIG", "aoi.toml")
    monkeypatch.setenv("AOI_STORE", "sqlite:///environment.sqlite3")
    assert cli("db", "upgrade").code == 0
    assert (tmp_path / "environment.sqlite3").exists()
    assert not (tmp_path / "file.sqlite3").exists()
    assert cli("keys", "new").code == 0
    assert (tmp_path / "k.json").exists()


@pytest.mark.parametrize("command", ["worker registration", "send k.x -c hello", "dead replay prk"])
def test_commands_that_need_a_broker_refuse_memory(cli: Cli, command: str) -> None:
    """``memory://`` lives in one process: whatever needs another one says so."""
    ran = cli(*command.split())
    assert ran.code == 78
    assert "AOI_BROKER is memory://" in ran.err


def test_a_worker_that_does_not_exist(cli: Cli) -> None:
    """A wrong name is told at once, with the right ones."""
    ran = cli("worker", "registrar")
    assert ran.code == 78
    assert "no worker 'registrar' here: there are registration, activation" in ran.err
