"""The notification worker, with points at which notifications of certain names end or hold it.

``deadly…`` ends the process before anything is done about it, ``orphan…`` once its deliveries are
committed and nothing that follows was published; ``held…`` is not handled before the test writes
into the FIFO that ``RELEASE_FIFO`` names.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Final

from aoi_events.bootstrap import installation
from aoi_events.cli.app import main
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Outbound
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.notification.handler import NotificationHandler

DIED: Final = 99
"""The exit code of a process that a notification ended."""
LAUNCHER: Final = "tests.acceptance.crash_points"

log = get_logger(__name__)


class CrashingHandler(NotificationHandler):
    """Ends or pauses the process where the name of a notification says so."""

    async def handle(self, items: Sequence[IncomingRequest]) -> Sequence[Outbound]:
        """Handle them, or die, or take long."""
        names = [
            item.request.notification
            for item in items
            if isinstance(item.request, SendNotificationV1)
        ]
        if any(name.startswith("deadly") for name in names):
            os._exit(DIED)
        if any(name.startswith("held") for name in names):
            log.info("held")
            await _until_released()
        outputs = await super().handle(items)
        if any(name.startswith("orphan") for name in names):
            os._exit(DIED)
        return outputs


async def _until_released() -> None:
    fifo = os.open(os.environ["RELEASE_FIFO"], os.O_RDONLY | os.O_NONBLOCK)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fifo, told.set)
    try:
        await told.wait()
    finally:
        loop.remove_reader(fifo)
        os.close(fifo)


if __name__ == "__main__":
    vars(installation)["NotificationHandler"] = CrashingHandler
    main(["worker", "notification"])
