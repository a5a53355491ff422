"""The deadlines worker.

Takes: due rows of the store, ``aoi.dead``, ``aoi.unroutable``.
Writes: deliveries, proofs, parked messages, retention.
Publishes: next steps, ``notification.*`` events.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "deadlines"])
