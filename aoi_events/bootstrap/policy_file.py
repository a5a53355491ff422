"""The operator's policy file: read at the start, and again when it changes.

The file is polled twice a second. This costs little, works on every file system, and notices a
file that was rewritten, replaced, or swapped behind a symbolic link (as Kubernetes does). A change
counts once two polls in a row read the same, so that a half-written file is not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Final

from aoi_events.bootstrap.policy_format import parse_policy, read_octets
from aoi_events.domain.planning.policy import Rules
from aoi_events.errors import ConfigurationError, PolicyRefused
from aoi_events.platform.logs import get_logger
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.services.runtime.pausing import Stopped, sleep_unless_stopped

log = get_logger(__name__)

_LOOK_EVERY: Final = 0.5

_PLANNING: Final = frozenset({"notification", "deadlines"})
"""Workers that make plans."""


def open_policy(
    path: Path | None,
    names: Collection[str],
    channels: Collection[str],
    *,
    metrics: WorkerMetrics,
) -> PolicyFile | None:
    """The policy file at ``path``, where workers of these ``names`` make plans, else None.

    Raises ConfigurationError.
    """
    if path is None or _PLANNING.isdisjoint(names):
        return None
    try:
        return PolicyFile(path, channels, metrics=metrics)
    except PolicyRefused as refused:
        raise ConfigurationError(f"AOI_POLICY_FILE: {refused}") from None


class PolicyFile:
    """The policy that is in force in this process."""

    def __init__(self, path: Path, channels: Collection[str], *, metrics: WorkerMetrics) -> None:
        """Read ``path``; ``channels`` are the types that there are. Raises PolicyRefused."""
        self._path = path
        self._channels = frozenset(channels)
        self._metrics = metrics
        self._seen = self._known = self._look()
        if isinstance(self._known, PolicyRefused):
            raise self._known
        self._policy = parse_policy(self._known, self._channels, file=str(path))
        self.refused: str | None = None
        """Why the current content of the file is not in force."""

    def rules_for(self, application: str) -> Rules:
        """The rules for an application now."""
        return self._policy.rules_for(application)

    async def watch(self, clock: Clock, stop: asyncio.Event) -> None:
        """Reload the file when it changes, until ``stop``; an invalid file changes nothing."""
        while True:
            try:
                await sleep_unless_stopped(clock, _LOOK_EVERY, stop)
            except Stopped:
                return
            self._follow(await asyncio.to_thread(self._look))

    def _follow(self, found: bytes | PolicyRefused) -> None:
        settled = _same(found, self._seen)
        self._seen = found
        if not settled or _same(found, self._known):
            return
        self._known = found
        try:
            if isinstance(found, PolicyRefused):
                raise found
            self._policy = parse_policy(found, self._channels, file=str(self._path))
        except PolicyRefused as refused:
            self.refused = str(refused)
            log.error(
                "policy_refused", error=str(refused), hint="the previous policy stays in force"
            )
            self._metrics.policy_reloaded("refused")
        else:
            self.refused = None
            log.info("policy_taken", file=str(self._path))
            self._metrics.policy_reloaded("taken")

    def _look(self) -> bytes | PolicyRefused:
        try:
            return read_octets(self._path)
        except PolicyRefused as refused:
            return refused


def _same(one: bytes | PolicyRefused, other: bytes | PolicyRefused) -> bool:
    if isinstance(one, PolicyRefused) and isinstance(other, PolicyRefused):
        return one.faults == other.faults
    return one == other
