"""What commands print: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from rich.console import Console

__all__ = ["console", "fail", "print_json"]

console = Console(highlight=False)
"""Standard output, with colours on a terminal only."""

_errors = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Say what is wrong on standard error, and exit."""
    _errors.print("error:", style="bold red", end=" ")
    _errors.print(message, markup=False, soft_wrap=True)
    sys.exit(code)
