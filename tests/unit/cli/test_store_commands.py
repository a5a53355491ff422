"""Commands on a store: its schema, and what they say where there is none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.commands import Cli


def test_upgrade_twice_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    """The first makes the schema, the second finds it."""
    assert cli("db", "upgrade").code == 0
    before = (tmp_path / "aoi.sqlite3").stat().st_size
    ran = cli("db", "upgrade")
    assert (ran.code, ran.out) == (0, "The schema is up to date.\n")
    assert (tmp_path / "aoi.sqlite3").stat().st_size == before


@pytest.mark.parametrize("command", ["status n1", "dead list", "dead show prk_1", "keys list"])
def test_where_there_is_no_database_none_is_made(cli: Cli, tmp_path: Path, command: str) -> None:
    """Whoever only looks, maybe in a wrong folder, hears where nothing is, and what makes one."""
    if command.startswith("keys"):
        assert cli("keys", "new").code == 0
    before = set(tmp_path.iterdir())
    ran = cli(*command.split())
    assert ran.code == 78
    assert f"there is no database {tmp_path / 'aoi.sqlite3'}" in ran.err
    assert "run `aoi db upgrade` first" in ran.err
    assert set(tmp_path.iterdir()) == before


def test_an_empty_database_says_what_to_do(cli: Cli, tmp_path: Path) -> None:
    """Without a schema the command that makes it is named."""
    (tmp_path / "aoi.sqlite3").touch()
    ran = cli("status", "n1")
    assert ran.code == 78
    assert "has no schema yet; run `aoi db upgrade` first" in ran.err


def test_only_its_owner_reads_a_database(cli: Cli, tmp_path: Path) -> None:
    """It holds content and phone numbers: so do the files that SQLite puts beside it."""
    assert cli("db", "upgrade").code == 0
    held = sqlite3.connect(tmp_path / "aoi.sqlite3")
    held.execute("BEGIN IMMEDIATE")
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {f"aoi.sqlite3{end}": 0o600 for end in ("", "-shm", "-wal")}
    held.close()


@pytest.mark.parametrize("command", ["db upgrade", "status n1", "dead list", "dead drop prk_1"])
def test_an_unreachable_store_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Exit code 69, what was tried, and which setting says so; no password."""
    monkeypatch.setenv("AOI_STORE", "postgresql://aoi:hidden@127.0.0.1:1/aoi")
    ran = cli(*command.split())
    assert ran.code == 69
    assert "the store cannot be reached" in ran.err
    assert "AOI_STORE says where it is" in ran.err
    assert "hidden" not in ran.err


def test_an_unreachable_broker_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """``aoi send`` gives up, with 69."""
    monkeypatch.setenv("AOI_BROKER", "amqp://shop:hidden@127.0.0.1:1/")
    ran = cli("send", "k1.token", "-c", "hello")
    assert ran.code == 69
    assert "is RabbitMQ running there? AOI_BROKER says where it is" in ran.err
    assert "hidden" not in ran.err


@pytest.mark.parametrize(
    "arguments, code, told",
    [
        (["k1.token", "-c", "x" * 4097], 1, "larger than 4096 octets"),
        (["k1.token", "-c", "x", "--ttl", "-1"], 1, "--ttl: must be 0 or more"),
        (["k1.token", "-c", "x", "--id", "a b"], 1, "--id: must have the form"),
        (["k1.token", "-c", "x", "--hedge-after", "3"], 2, "--hedge-after needs --mode hedged"),
        (["k1.token", "-c", "x", "--urgency", "extreme"], 2, "--urgency"),
        (["k1.token", "-c", "x", "--wait", "sending"], 2, "--wait"),
        (["k1.token", "-c", "x", "--timeout", "0"], 2, "--timeout"),
        (["k1.token"], 2, "--content"),
        (["-c", "x"], 2, "Missing argument"),
    ],
)
def test_a_notification_that_cannot_be_sent(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    """Wrong input is refused before a connection is made, and the error names the option."""
    monkeypatch.setenv("AOI_BROKER", "amqp://shop:hidden@127.0.0.1:1/")
    ran = cli("send", *arguments)
    assert ran.code == code
    assert told in " ".join(ran.err.split())
