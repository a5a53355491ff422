"""The logger hides fields that could hold a secret, whatever a caller passes."""

from __future__ import annotations

import logging

import pytest

from aoi_events.platform.logs import SeldomLog, get_logger

HIDDEN = (
    *("secret", "secret_hash", "token", "tokens", "assertion"),
    *("password", "code_sent", "content", "body"),
)


@pytest.mark.parametrize("field", HIDDEN)
def test_fields_that_could_hold_a_secret_are_hidden(
    field: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The record of an event says that there was something, and not what; its neighbours stay."""
    caplog.set_level(logging.DEBUG)
    get_logger("aoi_events.test").debug("asked", **{field: "5ec7e7", "client": "cli_a"})
    (record,) = (vars(each) for each in caplog.records)
    assert (record[field], record["client"]) == ("[hidden]", "cli_a")
    assert "5ec7e7" not in repr(record)


def test_what_comes_often_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The first warning of a kind comes at once, the next after a minute with the number of those
    left out; other kinds count for themselves.
    """
    times = iter([0.0, 30.0, 59.0, 59.0, 60.0, 119.0, 120.0])
    seldom = SeldomLog(get_logger("aoi_events.test"), now=lambda: next(times))
    for kind in ("a", "a", "a", "b", "a", "a", "a"):
        seldom.warning("refused", kind=kind, of=kind)
    fields = [(vars(each)["of"], vars(each).get("left_out")) for each in caplog.records]
    assert fields == [("a", None), ("b", None), ("a", 2), ("a", 1)]
