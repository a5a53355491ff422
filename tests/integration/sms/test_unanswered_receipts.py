"""Receipts that are not processed when the worker ends: the SMSC must send them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from aoi_events.services.channel import waiting
from aoi_events.testing.server import open_server
from tests.support.raw_smsc import (
    DELIVER_SM,
    ENQUIRE_LINK,
    TRANSCEIVER,
    UNBIND,
    RawSmsc,
    report_body,
)


async def test_a_receipt_that_waits_when_the_worker_ends_is_not_answered(
    aoi_settings: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session, which read it, ends without an answer to it."""
    monkeypatch.setattr(waiting, "_UNANSWERED_AT_MOST", 600.0)
    async with RawSmsc() as raw:
        sms = {**aoi_settings["channels"]["sms"], "host": raw.host, "port": raw.port}
        settings = {**aoi_settings, "channels": {"sms": sms}}
        async with open_server(settings, sender_url=lambda sender: sender):
            await raw.came(TRANSCEIVER)
            number = raw.ask(DELIVER_SM, report_body(b"id:FFFF stat:UNDELIV"))
            await raw.answered(raw.ask(ENQUIRE_LINK))
        assert raw.commands()[-1] == UNBIND
        assert number not in [frame.sequence for _, frame in raw.frames if frame.command >> 31]
