"""Worker processes of a benchmark, which must have nothing to complain about."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.processes import Worker, Workers


def workers(names: Sequence[str], environment: Mapping[str, str]) -> Workers:
    """Those of ``names``; warnings and errors are shown: broken workers measure nothing."""
    return Workers(names, environment, hear=_show)


def _show(worker: Worker, entry: dict[str, Any]) -> None:
    if entry.get("level") in ("warning", "error"):
        sys.stderr.write(f"{worker.name}: {json.dumps(entry)}\n")
