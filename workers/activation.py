"""The activation worker.

Takes: ``aoi.activation``.
Writes: channels, proofs, presence; makes stored deliveries due.
Publishes: answers, challenges, ``channel.*`` events.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "activation"])
