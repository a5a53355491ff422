"""What benchmarks share: a meter inside the measured process, medians and ranges outside."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self


class Meter:
    """Measures from the first handled message to the end of the block, and prints JSON.

    ``seconds`` of wall time and ``cpu`` seconds of this process, for ``count`` messages. The end of
    the block is after the last confirm and acknowledgement.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0
        self._started = 0.0
        self._cpu = 0.0

    def handled(self, messages: int) -> bool:
        """Count; True with the last one."""
        if self._seen == 0:
            self._started, self._cpu = time.perf_counter(), _cpu()
        self._seen += messages
        return self._seen >= self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            figures = {
                "messages": self._seen,
                "seconds": time.perf_counter() - self._started,
                "cpu": _cpu() - self._cpu,
            }
            sys.stdout.write(json.dumps(figures) + "\n")


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True, slots=True)
class Figure:
    """Several runs of one measurement."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        def short(value: float) -> str:
            return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

        return f"{short(self.median)} ({short(min(self.values))}…{short(max(self.values))})"
