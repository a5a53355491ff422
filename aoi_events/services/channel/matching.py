"""The message that a receipt is about. Pure.

An exact ID wins, unless the provider is known for another spelling, or the receipt names another
address. A provider may spell an ID in its receipts in another way than in its answers
(:class:`aoi_events.ports.channel.Spelled`). Such a spelling counts only if exactly one message has
it whose address the receipt names, and, where several have it, exactly one whose delivery is open:
a wrong match would report on the message of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aoi_events.contracts.envelopes import is_challenge
from aoi_events.ports.channel import Receipt, Spelled
from aoi_events.ports.store import ProviderMessage


@dataclass(frozen=True, slots=True)
class Found:
    """Messages in the store that receipts may be about, by name and by folded name; ``settled``:
    those of their deliveries that have ended.
    """

    exact: Mapping[str, ProviderMessage]
    spelled: Mapping[str, Sequence[ProviderMessage]] = field(default_factory=dict)
    settled: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """The message of a receipt; ``how`` its ID is spelled, None for an exact ID."""

    message: ProviderMessage
    how: str | None = None


def by_folded_name(messages: Iterable[ProviderMessage]) -> Mapping[str, Sequence[ProviderMessage]]:
    """The messages of each folded name."""
    grouped: defaultdict[str, list[ProviderMessage]] = defaultdict(list)
    for message in messages:
        grouped[message.folded].append(message)
    return grouped


def match(receipt: Receipt, found: Found, usual: str | None, *, waited: bool) -> Match | None:
    """The message of a receipt; None: there is none, or it is not certain which.

    ``usual``: how the provider is known to spell IDs, which comes before an exact ID, because in
    two bases one ID may name two messages. Until it ``waited``, the message that is meant may be
    noted in a moment: then only what leaves no doubt counts, which a delivery that has ended does
    not, for providers use short IDs again.
    """
    exact = found.exact.get(receipt.provider_message)
    known = [each for each in receipt.spellings if each.how == usual]
    if len(fitting := _fitting(receipt, known, found)) == 1:
        if not waited and not _open(fitting[0].message, found):
            return None
        return Match(exact) if fitting[0].message == exact else fitting[0]
    if exact is not None:
        agrees = waited and exact.address in receipt.addresses
        if agrees or not in_doubt(receipt, exact, usual):
            return Match(exact)
    if not waited:
        return None
    fitting = _fitting(receipt, receipt.spellings, found)
    if not fitting and exact is not None and _counts(receipt, exact, usual):
        return Match(exact)
    return fitting[0] if len(fitting) == 1 else None


def in_doubt(receipt: Receipt, exact: ProviderMessage, usual: str | None) -> bool:
    """Whether a message that is not noted yet may be meant instead of that under the exact ID: in
    the ``usual`` spelling, or, if the receipt names another address, in any.
    """
    if exact.address in receipt.addresses:
        return names_another(receipt, exact, usual)
    others = any(each.folded != exact.folded for each in receipt.spellings)
    elsewhere = bool(exact.address and receipt.addresses) and others
    return not receipt.sure or elsewhere or names_another(receipt, exact, usual)


def _counts(receipt: Receipt, exact: ProviderMessage, usual: str | None) -> bool:
    """Whether the message under the exact ID of a receipt that does not name its address is meant:
    the receipt must be sure, and the message must have no address, or the ID no other message in
    the ``usual`` spelling.
    """
    return receipt.sure and not (exact.address and names_another(receipt, exact, usual))


def names_another(receipt: Receipt, exact: ProviderMessage, usual: str | None) -> bool:
    """Whether the ID of a receipt, in the ``usual`` spelling, is not that of ``exact``."""
    known = {each.folded for each in receipt.spellings if each.how == usual}
    return bool(known) and exact.folded not in known


def _fitting(receipt: Receipt, spellings: Sequence[Spelled], found: Found) -> Sequence[Match]:
    """Messages under one of the spellings with an address of the receipt: those of open deliveries,
    if there are any, or else of deliveries that have ended, or else challenges, which never end.
    """
    ways = {each.folded: each.how for each in reversed(spellings)}  # of equal names the first
    fitting = [
        Match(message, how)
        for folded, how in ways.items()
        for message in found.spelled.get(folded, ())
        if message.address and message.address in receipt.addresses
    ]
    deliveries = [each for each in fitting if not is_challenge(each.message.delivery)]
    return [each for each in deliveries if _open(each.message, found)] or deliveries or fitting


def _open(message: ProviderMessage, found: Found) -> bool:
    return not is_challenge(message.delivery) and message.delivery not in found.settled
