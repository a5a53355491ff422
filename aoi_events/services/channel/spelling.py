"""How each provider spells message IDs in its receipts, as this worker found out."""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import datetime, timedelta
from typing import Final

from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.channel import Receipt
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.services.channel.matching import Match, names_another

log = get_logger(__name__)

_LAST: Final = 50
_WARN_AT: Final = 5
"""Of the last 50: one receipt in ten, or the first five. Single ones are of other systems that
share the account, or come after their time.
"""
_WARN_AGAIN: Final = timedelta(hours=1)


class SpellingsFound:
    """Learns from receipts whose message was certain, counts all, and warns of a provider of whose
    receipts too many name no message that we know.
    """

    def __init__(self, channel_type: str, metrics: WorkerMetrics = NO_METRICS) -> None:
        self._channel = channel_type
        self._metrics = metrics
        self._usual: dict[str, str] = {}
        self._missed: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=_LAST))
        self._warned_at: dict[str, datetime] = {}

    def usual(self, receipt: Receipt) -> str | None:
        """How its provider is known to spell IDs."""
        return receipt.usual or self._usual.get(receipt.provider)

    def matched(self, receipt: Receipt, match: Match) -> None:
        """Its message was found. An exact ID gives up what is known only if the number agrees, and
        the ID would be another one in that spelling. What is not sure teaches nothing.
        """
        self._count(receipt, "exact" if match.how is None else "respelled")
        if not receipt.sure:
            return
        self._missed[receipt.provider].append(False)
        usual = self._usual.get(receipt.provider)
        if match.how is not None:
            self._usual[receipt.provider] = match.how
        elif match.message.address in receipt.addresses and names_another(
            receipt, match.message, usual
        ):
            del self._usual[receipt.provider]

    def missed(self, receipt: Receipt, now: datetime, *, dropped: bool = False) -> None:
        """No message was found for it, or it was not certain which; ``dropped``: before its time,
        because too many waited. One that is not sure is perhaps none of the provider's, so that it
        warns of nothing.
        """
        if not receipt.sure:
            self._count(receipt, "unmarked")
            return
        self._count(receipt, "dropped" if dropped else "unknown")
        last = self._missed[receipt.provider]
        last.append(True)
        warned_at = self._warned_at.get(receipt.provider)
        if last.count(True) >= _WARN_AT and (warned_at is None or now - warned_at >= _WARN_AGAIN):
            self._warned_at[receipt.provider] = now
            log.warning(
                "receipts_name_no_message",
                channel=self._channel,
                provider=receipt.provider,
                missed=last.count(True),
                of=len(last),
                in_receipt=receipt.provider_message.rpartition(" ")[2],
                in_response=receipt.latest,
            )

    def _count(self, receipt: Receipt, result: str) -> None:
        self._metrics.receipt(self._channel, receipt.provider or None, result)
