"""What commands print: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

__all__ = ["console", "fail", "plain", "print_json", "visible"]

console = Console(highlight=False)
"""Standard output, with colours on a terminal only."""

_errors = Console(stderr=True, highlight=False)


def visible(text: str) -> str:
    """``text`` from outside, its control characters escaped: a terminal would obey them."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def plain(text: str, style: str = "") -> Text:
    """``text`` from outside for a table or a line: neither markup nor control characters work."""
    return Text(visible(text), style)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Say what is wrong on standard error, and exit."""
    _errors.print("error:", style="bold red", end=" ")
    _errors.print(visible(message), markup=False, soft_wrap=True)
    sys.exit(code)
