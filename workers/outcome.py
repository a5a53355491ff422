"""The outcome worker.

Takes: ``aoi.outcome``.
Writes: deliveries (merged), channels and tokens that ended.
Publishes: next steps, ``notification.*`` events.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "outcome"])
