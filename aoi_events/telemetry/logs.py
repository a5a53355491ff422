"""Sets up logging for the processes that are ours; other code keeps the logging of its program."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final, Literal

LogFormat = Literal["auto", "json", "console"]

_RETRIED: Final = ("aiormq", "aio_pika")
"""Log as an error what our broker adapter retries and logs itself."""
_TALKATIVE: Final = ("aiohttp", "sqlalchemy", "alembic", "asyncio")
"""Log each request and each reconnect."""


def configure_logging(*, level: str = "info", form: LogFormat = "auto") -> None:
    """Log to standard error, our events and those of libraries.

    ``level``: debug, info, warning or error. ``form``: ``json``, ``console`` (text for people), or
    ``auto``: text where standard error is a terminal, else JSON.
    """
    # structlog takes 0.1 s of CPU time to import: only processes that log pay for it.
    from aoi_events.telemetry.log_lines import json_lines, text_lines

    terminal = sys.stderr.isatty()
    as_text = form == "console" or (form == "auto" and terminal)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(text_lines(colours=terminal and _colours()) if as_text else json_lines())
    logging.getLogger().handlers[:] = [handler]
    _set_levels(logging.getLevelNamesMapping()[level.upper()])


def log_only_errors() -> None:
    """For commands that report their outcome themselves: print only errors that libraries log."""
    _set_levels(logging.ERROR)


def _set_levels(least: int) -> None:
    logging.getLogger().setLevel(least)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    for name in _RETRIED:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _colours() -> bool:
    """Whether the person and the terminal want colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
