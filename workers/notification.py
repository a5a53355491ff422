"""The notification worker.

Takes: ``aoi.notification``.
Writes: notifications, new deliveries.
Publishes: answers, delivery batches, ``notification.accepted``.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "notification"])
