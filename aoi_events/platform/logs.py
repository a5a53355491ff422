"""Loggers: structured events through the standard library's logging.

A program that embeds a part of aoi-events keeps its own logging configuration. Without one, only
warnings and errors are printed, on standard error, and a traceback never shows local variables.
:func:`aoi_events.telemetry.logs.configure_logging` sets up logging for our own processes.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
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
