"""The webhook worker.

Takes: ``aoi.delivery.webhook``.
Writes: submissions.
Publishes: outcomes.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "webhook"])
