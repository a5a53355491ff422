"""A session of ours with an SMSC of plain sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from aoi_events.channels.sms.connection import Answer
from aoi_events.channels.sms.numbers import destination
from aoi_events.channels.sms.pdu import Pdu
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.session import SmppSession
from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import SubmitStatus
from tests.support.limits import WITHIN
from tests.support.raw_smsc import (
    RawSmsc,
)


class Bound:
    """A session, and the messages that it passes on."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[Pdu, Answer]] = asyncio.Queue()
        self.faults: list[Exception] = []
        self.session: SmppSession
        self.until = datetime.now(timezone(timedelta(hours=2))) + timedelta(hours=1)

    def take(self, message: Pdu, answer: Answer) -> None:
        """Note a message, or fail."""
        if self.faults:
            raise self.faults.pop()
        self.messages.put_nowait((message, answer))

    async def submit(self, user_data: bytes = b"hello", valid_for: float = 60.0) -> SubmitStatus:
        """What becomes of a message."""
        to = destination("+31600000001")
        assert to is not None
        expires_at = asyncio.get_running_loop().time() + valid_for
        push = Push(to, (user_data,), expires_at, self.until)
        async with asyncio.timeout(WITHIN):
            return (await self.session.submit(push, user_data)).status

    async def why(self) -> str:
        """Why the session ended."""
        async with asyncio.timeout(WITHIN):
            return await self.session.ended()


@asynccontextmanager
async def bound_to(
    smsc: RawSmsc, tls: ssl.SSLContext | None = None, **changes: Any
) -> AsyncIterator[Bound]:
    """A session while the block runs; times are long unless a test is about them."""
    times = {"connect_time": 60.0, "response_time": 25.0, "enquire_link": 3_600.0}
    settings = SmscSettings(host=smsc.host, port=smsc.port, **{**times, **changes})
    bound = Bound()
    bound.session = await SmppSession.bind("smsc", settings, tls, bound.take)
    try:
        yield bound
    finally:
        await bound.session.close()
