"""The logger hides fields that could hold a secret, whatever a caller passes."""

from __future__ import annotations

import logging

import pytest

from aoi_events.platform.logs import get_logger

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
