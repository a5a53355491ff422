"""The activation worker.

Takes: ``aoi.activation``.
Writes: channels, proofs, presence; makes stored deliveries due.
Publishes: answers, challenges, ``channel.*`` events.
"""

from __future__ import annotations

import sys

from aoi_events.cli.run import worker_process

if __name__ == "__main__":
    sys.exit(worker_process("activation"))
