"""What the log says of commands that wake apps, and what it does not say."""

from __future__ import annotations

import logging

import pytest

from aoi_events.contracts.apps import AppNotification
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import base32_id
from aoi_events.daemon.launcher import Launcher
from aoi_events.errors import CouldNotWake
from tests.support.limits import WITHIN

SHOWN = AppNotification(
    delivery=base32_id("dlv_", bytes(16)),
    application="org.example.mail",
    instance="default",
    content=Content(data="confidential"),
    channel="websocket",
)


async def wake(code: int) -> None:
    """Wake by a command that writes what it is given, and ends with this code."""
    command = ("/bin/sh", "-c", f"cat; exit {code}")
    await Launcher(within=WITHIN, at_once=1).launch(SHOWN, command)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Every event with its fields."""
    return "\n".join(str(vars(record)) for record in caplog.records)


async def test_a_command_that_says_later_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """75 is an answer: nothing is logged that an operator would have to look at."""
    caplog.set_level(logging.INFO, "aoi_events")
    with pytest.raises(CouldNotWake, match="ended with 75"):
        await wake(75)
    assert "command_" not in logged(caplog)


async def test_what_a_command_that_took_it_says_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may be the notification itself."""
    caplog.set_level(logging.INFO, "aoi_events")
    await wake(0)
    assert "app_woken" in logged(caplog)
    assert "confidential" not in logged(caplog)


async def test_a_command_that_fails_is_logged_with_what_it_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing else tells the operator what is wrong with it."""
    with pytest.raises(CouldNotWake, match="ended with 1"):
        await wake(1)
    assert "command_failed" in logged(caplog)
    assert "confidential" in logged(caplog)
