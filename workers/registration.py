"""The registration worker.

Takes: ``aoi.registration``.
Writes: clients, applications.
Publishes: answers, ``client.*`` and ``application.*`` events.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "registration"])
