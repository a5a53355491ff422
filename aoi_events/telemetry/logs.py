"""Structured logs: one JSON object a line for machines, colours for people; never a secret."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

from aoi_events.platform.logs import mask

__all__ = ["LogFormat", "configure_logging"]

LogFormat = Literal["json", "console"]


def configure_logging(*, level: str = "info", form: LogFormat = "json") -> None:
    """Send our logs and those of libraries to standard error.

    ``level``: debug, info, warning or error.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        # Not the pretty tracebacks: they print local variables, and with them secrets.
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # Libraries tell of each reconnect and each request; their warnings are enough.
    for name in ("aiohttp", "sqlalchemy", "alembic", "asyncio"):
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    # These two report as errors what our own broker adapter reports, and mends, anyway.
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
