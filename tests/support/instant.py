"""The one date that is written down, for tests in which every clock stands still."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

INSTANT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""Where no clock runs: decisions get it as an argument, stores as a value.

It has passed, so an item of this time that meets the machine's clock has expired today, and not
only some day. tests/unit/test_dates.py says where it may be used.
"""
