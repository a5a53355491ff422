"""The one kind of logger: structured events through the standard library's logging.

Whoever embeds a part of aoi-events keeps their own logging: without any configuration warnings go
to standard error and nothing else does, and a traceback never shows local variables.
:func:`aoi_events.telemetry.logs.configure_logging` is for processes that are ours.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from structlog.stdlib import BoundLogger

__all__ = ["get_logger", "mask"]

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
_OF_THE_RECORD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


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
    """Hide fields that could hold a secret, whatever a caller passes.

    The second line of defence; the first is not to log them.
    """
    for name in _HIDDEN & event.keys():
        event[name] = "[hidden]"
    return event


def _no_clash(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A field named as an attribute of a log record would be refused by logging."""
    for name in (_OF_THE_RECORD & event.keys()) - {"exc_info", "stack_info"}:
        event[f"{name}_"] = event.pop(name)
    return event
