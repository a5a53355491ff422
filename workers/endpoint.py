"""The endpoint worker.

Takes: HTTP requests of Application Servers (Web Push, the JSON API).
Writes: nothing.
Publishes: ``notification.send``, ``notification.cancel`` and ``notification.status``, on behalf of
the authenticated sender.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "endpoint"])
