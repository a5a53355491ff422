"""The deadlines worker.

Takes: due rows of the store, ``aoi.dead``, ``aoi.unroutable``.
Writes: deliveries, proofs, parked messages, retention.
Publishes: next steps, ``notification.*`` events.
"""

from __future__ import annotations

import sys

from aoi_events.cli.run import worker_process

if __name__ == "__main__":
    sys.exit(worker_process("deadlines"))
