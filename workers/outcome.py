"""The outcome worker.

Takes: ``aoi.outcome``.
Writes: deliveries (merged), channels and tokens that ended.
Publishes: next steps, ``notification.*`` events.
"""

from __future__ import annotations

import sys

from aoi_events.cli.run import worker_process

if __name__ == "__main__":
    sys.exit(worker_process("outcome"))
