"""The sms worker.

Takes: ``aoi.delivery.sms``, receipts of the SMSC.
Writes: submissions, provider message IDs.
Publishes: outcomes.
"""

from __future__ import annotations

from aoi_events.cli.app import main

if __name__ == "__main__":
    main(["worker", "sms"])
