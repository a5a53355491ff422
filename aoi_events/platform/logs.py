"""Loggers: structured events through the standard library's logging.

A program that embeds a part of aoi-events keeps its own logging configuration. Without one, only
warnings and errors are printed, on standard error, and a traceback never shows local variables.
:func:`aoi_events.telemetry.logs.configure_logging` sets up logging for our own processes.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import structlog
from structlog.stdlib import BoundLogger

_HIDDEN: Final = frozenset(
    {
        "secret",
        "secret_hash",
        "token",
        "tokens",
        "assertion",
        "password",
        "code_sent",
        "content",
        "body",
    }
)
_RECORD_ATTRIBUTES: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


def get_logger(name: str) -> BoundLogger:
    """The logger of a module: ``log.warning("paused", queue=…)``."""
    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            mask,
            _no_clash,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=True,
    )
    return logger


class SeldomLog:
    """Logs a warning of a kind at most once a minute, with the number of those left out.

    For lines that come as often as devices, requests or attempts do. ``now`` is in seconds.
    """

    EVERY: Final = 60.0

    def __init__(self, log: BoundLogger, *, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._now = now
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def warning(self, event: str, *, kind: str = "", **fields: Any) -> None:
        """Log ``event``; those of another ``kind`` count for themselves."""
        now = self._now()
        again_at, left_out = self._kinds.get((event, kind), (-math.inf, 0))
        if now < again_at:
            self._kinds[event, kind] = (again_at, left_out + 1)
            return
        self._kinds[event, kind] = (now + self.EVERY, 0)
        self._log.warning(event, **fields, **({"left_out": left_out} if left_out else {}))


def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of fields that could hold a secret, for every caller.

    This is the second line of defence; the first is not to log them.
    """
    for name in _HIDDEN & event.keys():
        event[name] = "[hidden]"
    return event


def _no_clash(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Rename fields that have the name of a log record's attribute: logging refuses those."""
    for name in (_RECORD_ATTRIBUTES & event.keys()) - {"exc_info", "stack_info"}:
        event[f"{name}_"] = event.pop(name)
    return event
