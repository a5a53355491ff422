"""Due rows: claimed in batches and processed together, or one by one where that fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Generic, TypeVar

from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Broker
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Store, Transaction
from aoi_events.services.runtime.pausing import PAUSES
from aoi_events.services.runtime.settings import ServiceSettings

log = get_logger(__name__)

K = TypeVar("K")


@dataclass(frozen=True)
class DueRows(ABC, Generic[K]):
    """Processes due rows of one ``kind``, ``batch`` of them at once."""

    kind: ClassVar[str]

    store: Store
    broker: Broker
    settings: ServiceSettings
    clock: Clock
    _: KW_ONLY
    batch: int
    metrics: WorkerMetrics = NO_METRICS

    @abstractmethod
    async def _claim(
        self, tx: Transaction, now: datetime, until: datetime
    ) -> Mapping[K, datetime | None]:
        """The keys of due rows, claimed ``until`` then (after that they are due again), and the
        deadlines whose lag is measured.
        """

    @abstractmethod
    async def _process(self, keys: Sequence[K], now: datetime, until: datetime) -> None:
        """Process claimed rows together."""

    @abstractmethod
    async def _process_alone(self, key: K, now: datetime, until: datetime) -> None:
        """Process a claimed row, after a failure with others; logs and ignores another one."""

    async def process_due(self) -> int:
        """Process one batch of due rows; returns how many there were."""
        now = self.clock.now()
        until = now + timedelta(seconds=self.settings.policies.hold)
        async with self.store.transaction() as tx:
            due = await self._claim(tx, now, until)
        if not due:
            return 0
        lags = [(now - at).total_seconds() for at in due.values() if at is not None]
        self.metrics.due(self.kind, len(due), lags)
        try:
            await self._process(list(due), now, until)
        except PAUSES:
            raise
        except Exception:
            # A bug that one row brings out must not hold up the others.
            log.exception("batch_failed", kind=self.kind, rows=len(due))
            for key in due:
                await self._process_alone(key, now, until)
        return len(due)
