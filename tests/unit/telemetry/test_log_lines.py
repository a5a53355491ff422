"""One log event, as a line for people and as JSON for machines."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from aoi_events.telemetry.log_lines import json_lines, text_lines


def record(event: str, *, trace: bool = False, **fields: object) -> logging.LogRecord:
    """What a logger hands to its formatter."""
    found = logging.LogRecord(
        "aoi_events.test",
        logging.WARNING,
        __file__,
        1,
        event,
        None,
        sys.exc_info() if trace else None,
    )
    found.__dict__.update(fields)
    return found


def test_a_line_for_people() -> None:
    """Time, level, event and pairs, in this order; values with blanks are quoted."""
    line = text_lines(colours=False).format(record("paused", queue="aoi.dead", error="no answer"))
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d \[warning +] paused +error='no answer' queue=aoi\.dead", line
    )


def test_colours_are_escape_codes_around_the_same_text() -> None:
    """Without the codes the line is the one without colours."""
    event = record("paused", queue="aoi.dead")
    event.created = 0.0
    coloured, plain = (text_lines(colours=each).format(event) for each in (True, False))
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured)[8:] == plain[8:]


def test_control_characters_do_not_reach_the_terminal() -> None:
    """Names and texts come from outside: what a terminal would obey is escaped, in the event, in
    values and in tracebacks, and no line can be made to look like two.
    """
    bad = "a\x1b[2Jb\nc\x9b"
    try:
        raise ValueError(bad)
    except ValueError:
        text = text_lines(colours=False).format(record(bad, trace=True, name_=bad, list_=[bad]))
    first, *traceback = text.split("\n")
    assert not [each for each in text if not each.isprintable() and each != "\n"]
    assert first.count("\\n") == 3
    assert traceback[-2:] == ["ValueError: a\\x1b[2Jb", "c\\x9b"]


@pytest.mark.parametrize("lines", [json_lines(), text_lines(colours=False)], ids=["json", "text"])
def test_secrets_and_local_variables_are_hidden(lines: logging.Formatter) -> None:
    """Neither format shows fields that could hold a secret, nor a function's local variables."""
    hidden_local = "5ec-7e7"
    try:
        raise ValueError("it broke")
    except ValueError:
        text = lines.format(record("asked", trace=True, token=hidden_local))
    assert "[hidden]" in text
    assert "it broke" in text
    assert hidden_local not in text


def test_a_line_for_machines() -> None:
    """One JSON object with the logger and the time in UTC."""
    entry = json.loads(json_lines().format(record("paused", queue="aoi.dead")))
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "paused",
        "level": "warning",
        "logger": "aoi_events.test",
        "queue": "aoi.dead",
    }
