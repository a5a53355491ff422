"""The gateway worker.

Takes: device connections, ``aoi.gateway.<node>``.
Writes: nothing.
Publishes: the devices' requests, outcomes.
"""

from __future__ import annotations

import sys

from aoi_events.cli.run import worker_process

if __name__ == "__main__":
    sys.exit(worker_process("gateway"))
