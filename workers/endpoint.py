"""The endpoint worker.

Takes: HTTP requests of Application Servers (Web Push, the JSON API).
Writes: nothing.
Publishes: ``notification.send``, ``notification.cancel`` and ``notification.status``, on behalf of
the authenticated sender.
"""

from __future__ import annotations

import sys

from aoi_events.cli.run import worker_process

if __name__ == "__main__":
    sys.exit(worker_process("endpoint"))
