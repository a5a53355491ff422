"""Default time limits of the fixtures."""

from __future__ import annotations

from typing import Final

WITHIN: Final = 60.0
"""Seconds: a guard against hanging on a machine that is busy, no claim on speed."""
