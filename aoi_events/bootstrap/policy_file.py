"""The operator's policy file: read at the start, and again when it changes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from aoi_events.bootstrap.policy_format import read_policy
from aoi_events.domain.planning.policy import Rules
from aoi_events.errors import PolicyRefused, naming
from aoi_events.platform.followed_files import follow
from aoi_events.ports.metrics import WorkerMetrics

_SETTING: Final = "AOI_POLICY_FILE"
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
    with naming(_SETTING):
        return PolicyFile(path, channels, metrics=metrics)


class PolicyFile:
    """The policy that is in force in this process."""

    def __init__(self, path: Path, channels: Collection[str], *, metrics: WorkerMetrics) -> None:
        """Read ``path``; ``channels`` are the types that there are. Raises PolicyRefused."""
        self._path = path
        self._channels = frozenset(channels)
        self._metrics = metrics
        follow([path], self._take, taken="policy_taken", refused="policy_refused")
        self._policy = read_policy(path, self._channels)
        self.refused: str | None = None
        """Why the current content of the file is not in force."""

    def rules_for(self, application: str) -> Rules:
        """The rules for an application now."""
        return self._policy.rules_for(application)

    async def _take(self) -> None:
        with naming(_SETTING):
            try:
                self._policy = read_policy(self._path, self._channels)
            except PolicyRefused as refused:
                self.refused = str(refused)
                self._metrics.policy_reloaded("refused")
                raise
        self.refused = None
        self._metrics.policy_reloaded("taken")
