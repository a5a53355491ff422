"""The notification worker.

Takes: ``aoi.notification``.
Writes: notifications, new deliveries.
Publishes: answers, delivery batches, ``notification.accepted``.
"""

from __future__ import annotations

import sys

from aoi_events.cli.run import worker_process

if __name__ == "__main__":
    sys.exit(worker_process("notification"))
