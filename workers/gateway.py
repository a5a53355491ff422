"""The gateway worker.

Takes: device connections, ``aoi.gateway.<node>``.
Writes: nothing.
Publishes: the devices' requests, outcomes.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "gateway"])
