"""The webhook worker.

Takes: ``aoi.delivery.webhook``.
Writes: submissions.
Publishes: outcomes.
"""

from __future__ import annotations

import sys

from aoi_events.cli.run import worker_process

if __name__ == "__main__":
    sys.exit(worker_process("webhook"))
