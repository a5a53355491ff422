"""How long tests wait for what must happen before they fail."""

from __future__ import annotations

from typing import Final

WITHIN: Final = 120.0
"""Seconds: a guard against hanging on a machine that is busy, no claim on speed. pytest's own time
limit (pyproject.toml) is above it.
"""
