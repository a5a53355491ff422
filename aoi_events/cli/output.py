"""The output of commands: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from aoi_events.platform.exit_codes import ExitCode
from aoi_events.platform.printable import printable

Json = Annotated[bool, typer.Option("--json", help="print JSON")]
"""The option of every command that prints for scripts, too."""

console = Console(highlight=False)
"""Standard output, with colours on a terminal only."""

_errors = Console(stderr=True, highlight=False)


def plain(text: str, style: str = "") -> Text:
    """``text`` from outside for a table or a line: markup and control characters have no effect."""
    return Text(printable(text), style)


def option_of(field: str) -> str:
    """The option that sets this field of a request."""
    return "--" + field.replace("_", "-")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def fail(message: str, *, code: ExitCode = ExitCode.REFUSED) -> NoReturn:
    """Print the error on standard error, and exit with ``code``."""
    _errors.print("error:", style="bold red", end=" ")
    _errors.print(printable(message), markup=False, soft_wrap=True)
    sys.exit(code)
