"""The registration worker.

Takes: ``aoi.registration``.
Writes: clients, applications.
Publishes: answers, ``client.*`` and ``application.*`` events.
"""

from __future__ import annotations

import sys

from aoi_events.cli.run import worker_process

if __name__ == "__main__":
    sys.exit(worker_process("registration"))
