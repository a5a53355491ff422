"""How one log event looks: a JSON object for machines, a line of text for people.

Neither shows a secret nor the local variables of a traceback.
"""

from __future__ import annotations

import logging
from io import StringIO
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from aoi_events.platform.logs import mask
from aoi_events.platform.printable import printable


def json_lines() -> logging.Formatter:
    """One JSON object a line; its time is in UTC."""
    return _formatter(
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    )


def text_lines(*, colours: bool) -> logging.Formatter:
    """Local time, level, event and ``key=value`` pairs on one line; a traceback below it."""
    return _formatter(
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _printable,
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=_traceback),
    )


def _formatter(*processors: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            mask,
        ],
        processors=processors,
    )


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape control characters, which a terminal would obey; other values are printed by repr."""
    return {
        name: printable(value) if isinstance(value, str) else value for name, value in event.items()
    }


def _traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    lines = StringIO()
    structlog.dev.plain_traceback(lines, exc_info)
    stream.write("\n".join(map(printable, lines.getvalue().split("\n"))))
