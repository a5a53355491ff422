"""How each provider spells message IDs in its receipts, as this worker found out."""

from __future__ import annotations

from collections import Counter
from typing import Final

from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.channel import Receipt
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.services.channel.matching import Match, names_another

log = get_logger(__name__)

_WARN_AT: Final = 5
_WARN_EVERY: Final = 1_000


class SpellingsFound:
    """Learns from receipts whose message was certain, counts all, and warns of a provider whose
    receipts keep naming no message that we know.
    """

    def __init__(self, channel_type: str, metrics: WorkerMetrics = NO_METRICS) -> None:
        self._channel = channel_type
        self._metrics = metrics
        self._usual: dict[str, str] = {}
        self._missed: Counter[str] = Counter()

    def usual(self, receipt: Receipt) -> str | None:
        """How its provider is known to spell IDs."""
        return receipt.usual or self._usual.get(receipt.provider)

    def matched(self, receipt: Receipt, match: Match) -> None:
        """Its message was found. An exact ID gives up what is known only if the number agrees, and
        the ID would be another one in that spelling.
        """
        del self._missed[receipt.provider]
        usual = self._usual.get(receipt.provider)
        if match.how is not None:
            self._usual[receipt.provider] = match.how
        elif match.message.address in receipt.addresses and names_another(
            receipt, match.message, usual
        ):
            del self._usual[receipt.provider]
        self._metrics.receipt(self._channel, "exact" if match.how is None else "respelled")

    def missed(self, receipt: Receipt) -> None:
        """No message was found for it, or it was not certain which; one that is not sure is none
        of the provider's, perhaps, and is not counted.
        """
        if not receipt.sure:
            return
        self._metrics.receipt(self._channel, "unknown")
        self._missed[receipt.provider] += 1
        count = self._missed[receipt.provider]
        if count % _WARN_EVERY == _WARN_AT:
            log.warning(
                "receipts_name_no_message",
                channel=self._channel,
                provider=receipt.provider,
                in_a_row=count,
                in_receipt=receipt.provider_message.rpartition(" ")[2],
                in_response=receipt.latest,
            )
