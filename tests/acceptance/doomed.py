"""The real notification worker, except that some notifications end its process at once.

``deadly…`` does so before anything is done about it, ``orphan…`` once its deliveries are committed
and nothing that follows was published.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from aoi_events.bootstrap import installation
from aoi_events.cli import worker_process
from aoi_events.contracts.requests import AnyRequest, SendNotificationV1
from aoi_events.ports.broker import Outbound
from aoi_events.services.incoming import Asked
from aoi_events.services.notification import NotificationHandler

DIED: Final = 99
"""The exit code of a process that a notification ended."""


class Doomed(NotificationHandler):
    """As the module says."""

    async def handle(self, items: Sequence[Asked[AnyRequest]]) -> Sequence[Outbound]:
        """Handle them, or die."""
        names = [
            item.request.notification
            for item in items
            if isinstance(item.request, SendNotificationV1)
        ]
        if any(name.startswith("deadly") for name in names):
            os._exit(DIED)
        outputs = await super().handle(items)
        if any(name.startswith("orphan") for name in names):
            os._exit(DIED)
        return outputs


if __name__ == "__main__":
    vars(installation)["NotificationHandler"] = Doomed
    sys.exit(worker_process("notification"))
