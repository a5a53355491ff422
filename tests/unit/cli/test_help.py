"""What a person sees who asks for help."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

from tests.support.commands import Cli

GROUPS = ["client", "dead", "db", "broker", "keys", "policy"]
SINGLE = ["demo", "up", "worker", "send", "status", "contracts", "settings", "metrics"]
LEAVES = [
    *SINGLE,
    "client run",
    "client register-app",
    "client unregister-app",
    "client apps",
    "client status",
    "client set-identity",
    "dead list",
    "dead show",
    "dead replay",
    "dead drop",
    "db upgrade",
    "broker check",
    "broker declare",
    "keys list",
    "keys new",
    "keys add",
    "keys issue",
    "keys webhook",
    "keys vapid",
    "keys api",
    "policy check",
    "policy explain",
]


def test_help_lists_every_command(cli: Cli) -> None:
    """``aoi --help`` names each command with what it does."""
    ran = cli("--help")
    assert ran.code == 0
    for command in (*SINGLE, *GROUPS):
        assert any(line.split()[1:2] == [command] for line in ran.out.splitlines()), command


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    """``aoi COMMAND -h`` says in a sentence what the command does, and what each option means."""
    ran = cli(*command.split(), "-h")
    assert ran.code == 0
    assert f"Usage: aoi {command}" in ran.out
    sentence = ran.out.split("Usage:")[1].splitlines()[2]
    assert len(sentence.strip()) > 20
    for line in ran.out.splitlines():
        if line.startswith("│") and " --" in line:
            assert len(line.strip("│ ").split("  ")[-1].strip()) > 3, line


@pytest.mark.parametrize("command", LEAVES)
def test_placeholders_are_of_one_style(cli: Cli, command: str) -> None:
    """A value is shown in capitals, as what it is, and never as a type of Python's."""
    options = cli(*command.split(), "-h").out.partition("─ Options")[2]
    for line in options.splitlines():
        if " --" in line:
            assert not re.search("<(str|int|float|path|file)", line), line


def test_the_version(cli: Cli) -> None:
    """``aoi --version`` prints the version of the installed distribution."""
    ran = cli("--version")
    assert (ran.code, ran.out) == (0, f"aoi {version('aoi-events')}\n")


@pytest.mark.parametrize("command", ["", *GROUPS])
def test_a_group_without_a_command_shows_its_help(cli: Cli, command: str) -> None:
    """Half a command prints the list of commands, and ends with 2."""
    ran = cli(*command.split())
    assert ran.code == 2
    assert "Commands" in ran.out + ran.err


def test_an_unknown_command_is_a_usage_error(cli: Cli) -> None:
    """A typing error ends with 2 and says where help is."""
    ran = cli("sned")
    assert ran.code == 2
    assert "No such command 'sned'" in ran.err
