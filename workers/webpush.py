"""The webpush worker.

Takes: ``aoi.delivery.webpush``.
Writes: submissions.
Publishes: outcomes.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "webpush"])
