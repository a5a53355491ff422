"""A connectionless channel whose provider answers as a test scripts it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from aoi_events.channels.base.offers import texts
from aoi_events.contracts.envelopes import (
    ChallengeItem,
    ChallengeOutcome,
    DeliverItem,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.platform.clock import SystemClock
from aoi_events.platform.tasks import unless_set
from aoi_events.ports.channel import (
    ChannelPlugin,
    Offered,
    OfferParameters,
    Receipt,
    SettingsModel,
    SubmitResult,
)
from aoi_events.ports.clock import Clock
from aoi_events.testing.limits import WITHIN

ADDRESS: Final = "address"
"""The parameter that a device offers: any text that is not empty."""

Work = DeliverItem | ChallengeItem

_AT_ONCE: Final = 10_000
"""More items than a test sends."""


@dataclass(frozen=True, slots=True)
class Say:
    """How the provider answers one item; made by the functions below.

    ``kind`` None: nothing. ``receipt``: what it says of the message later, at once after taking it.
    """

    kind: OutcomeKind | None = OutcomeKind.ACCEPTED
    detail: str = ""
    retry_after: float | None = None
    closes_channel: bool = False
    throttled: bool = False
    receipt: OutcomeKind | None = None
    bug: bool = False

    @classmethod
    def accepted(cls, *, receipt: OutcomeKind | None = None) -> Say:
        """It takes the message and, with ``receipt``, sends that receipt a moment later."""
        return cls(receipt=receipt)

    @classmethod
    def refused(cls, *, retry_after: float | None = None, throttled: bool = False) -> Say:
        """It refuses the message for now; ``throttled``: because there were too many."""
        return cls(OutcomeKind.REFUSED, "not now", retry_after=retry_after, throttled=throttled)

    @classmethod
    def unavailable(cls, *, retry_after: float = 1.0) -> Say:
        """It is down, so that the channel did not ask it."""
        return cls(OutcomeKind.UNAVAILABLE, "the provider is down", retry_after=retry_after)

    @classmethod
    def rejected(cls, *, closes_channel: bool = False) -> Say:
        """It refuses the message for good; ``closes_channel``: because the address is unknown."""
        return cls(OutcomeKind.REJECTED, "no such address", closes_channel=closes_channel)

    @classmethod
    def nothing(cls) -> Say:
        """It takes the message and sends no receipt."""
        return cls(None)

    @classmethod
    def breaks(cls) -> Say:
        """The channel raises, as a bug would."""
        return cls(bug=True)


class ScriptedProvider:
    """The provider behind every worker of the channel; the test's side of it.

    Items are answered with what :meth:`script` lists, in order, and then with ``default``. While
    ``answers`` is cleared, it takes items and does not answer.
    """

    def __init__(self, *, default: Say = Say(), clock: Clock | None = None) -> None:
        self.default = default
        self.clock: Clock = clock or SystemClock()
        self.taken: list[Work] = []
        self.receipts: asyncio.Queue[Receipt] = asyncio.Queue()
        self.up = asyncio.Event()
        self.up.set()
        self.answers = asyncio.Event()
        self.answers.set()
        self._script: deque[Say] = deque()
        self._changed = asyncio.Condition()
        self._numbers = count(1)
        self._read = 0

    def script(self, *sayings: Say) -> None:
        """Answer the next items like this."""
        self._script.extend(sayings)

    @property
    def deliveries(self) -> list[DeliverItem]:
        """Every delivery that was submitted so far."""
        return [item for item in self.taken if isinstance(item, DeliverItem)]

    @property
    def challenges(self) -> list[ChallengeItem]:
        """Every challenge that was submitted so far."""
        return [item for item in self.taken if isinstance(item, ChallengeItem)]

    async def next(self, *, within: float = WITHIN) -> Work:
        """Wait for the next item that was submitted. Raises TimeoutError."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self.taken) > self._read)
            self._read += 1
            return self.taken[self._read - 1]

    async def next_delivery(self, *, within: float = WITHIN) -> DeliverItem:
        """The next item, which must be a delivery."""
        item = await self.next(within=within)
        assert isinstance(item, DeliverItem), f"expected a delivery, not {item!r}"
        return item

    async def next_challenge(self, *, within: float = WITHIN) -> ChallengeItem:
        """The next item, which must be a challenge."""
        item = await self.next(within=within)
        assert isinstance(item, ChallengeItem), f"expected a challenge, not {item!r}"
        return item

    def message_of(self, item: Work) -> str:
        """The provider's message ID of an item that it took."""
        return f"scripted-{self.taken.index(item) + 1}"

    def receipt(
        self,
        item: Work,
        kind: OutcomeKind = OutcomeKind.RECEIPTED,
        *,
        closes_channel: bool = False,
    ) -> None:
        """Send a receipt of an item."""
        message = self.message_of(item)
        self.receipts.put_nowait(Receipt(message, kind, closes_channel=closes_channel))

    async def take(self, items: Sequence[Work]) -> Sequence[SubmitResult]:
        """Take items from the channel and return their results."""
        sayings = [self._script.popleft() if self._script else self.default for _ in items]
        if any(say.bug for say in sayings):
            # It raises before any item is submitted, and again when its item is submitted alone.
            self._script.extendleft(reversed(sayings))
            if len(items) == 1:
                self._script.popleft()
            raise RuntimeError("the scripted channel breaks, as the test wants it")
        async with self._changed:
            sent = [self._sent(item, say) for item, say in zip(items, sayings, strict=True)]
            self._changed.notify_all()
        await self.answers.wait()
        return sent

    def _sent(self, item: Work, say: Say) -> SubmitResult:
        self.taken.append(item)
        message = f"scripted-{len(self.taken)}"
        if say.receipt is not None:
            self.receipts.put_nowait(Receipt(message, say.receipt))
        outcome = _outcome(item, say, self.clock.now())
        taken = say.kind in (None, OutcomeKind.ACCEPTED)
        return SubmitResult(outcome, (message,) if taken else (), say.throttled)


def _outcome(item: Work, say: Say, now: datetime) -> OutcomeItem | ChallengeOutcome | None:
    """The outcome of the answer; a challenge that was taken has none."""
    if say.kind is None:
        return None
    if isinstance(item, ChallengeItem) and say.kind is OutcomeKind.ACCEPTED:
        return None
    return item.outcome(
        say.kind,
        now,
        detail=say.detail or None,
        closes_channel=say.closes_channel,
        retry_after=say.retry_after,
    )


class _Channel:
    """See :class:`aoi_events.ports.channel.ConnectionlessChannel`; one for each worker."""

    provider = "scripted"

    def __init__(self, shared: ScriptedProvider, traits: ChannelTraits, at_once: int) -> None:
        self.at_once: Final = at_once
        self._shared = shared
        self._traits = traits
        self._closed = asyncio.Event()

    def lane(self, item: Work) -> str:
        """The one provider."""
        return self.provider

    async def deliver(self, items: Sequence[Work]) -> Sequence[SubmitResult]:
        """One result per item, in order; what cannot go out never reaches the provider."""
        now = self._shared.clock.now()
        kept_back = [self._keep_back(item, now) for item in items]
        handed = [item for item, why in zip(items, kept_back, strict=True) if why is None]
        sent = iter(await self._shared.take(handed) if handed else ())
        return [
            next(sent) if why is None else SubmitResult(_outcome(item, why, now))
            for item, why in zip(items, kept_back, strict=True)
        ]

    def _keep_back(self, item: Work, now: datetime) -> Say | None:
        if self._closed.is_set():
            return Say(OutcomeKind.REFUSED, "the worker is stopping")
        if not self._shared.up.is_set():
            return Say.unavailable()
        if item.expires_at <= now:
            return Say(OutcomeKind.REFUSED, "expired before it was submitted")
        if not item.parameters.get(ADDRESS):
            return Say(OutcomeKind.REJECTED, "no address", closes_channel=True)
        most = self._traits.largest_content
        if most is None or isinstance(item, ChallengeItem) or item.wake_up:
            return None
        fits = self._traits.measure(item.content) <= most
        return None if fits else Say(OutcomeKind.REJECTED, "too large for this channel")

    async def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """Receipts as the test makes them; ends when the channel is closed."""
        while not self._closed.is_set():
            receipt = await unless_set(self._closed, self._shared.receipts.get())
            if receipt is not None:
                yield [receipt]

    async def healthy(self) -> bool:
        """Whether the provider is up."""
        return self._shared.up.is_set() and not self._closed.is_set()

    async def close(self) -> None:
        """End the receipts."""
        self._closed.set()


class ScriptedSettings(BaseModel):
    """No settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScriptedPlugin(ChannelPlugin):
    """See :class:`aoi_events.ports.channel.ChannelPlugin`; not installed, a test passes it."""

    type: str = "scripted"
    """``scripted``, unless a test has several."""

    def __init__(
        self,
        provider: ScriptedProvider,
        *,
        type: str = "scripted",
        needs_proof: bool = False,
        ack_within: float = 30.0,
        largest_content: int | None = None,
        cost: float = 1.0,
        at_once: int = _AT_ONCE,
    ) -> None:
        self.provider = provider
        self.needs_proof = needs_proof
        self.type = type
        self._ack_within = ack_within
        self._largest_content = largest_content
        self._cost = cost
        self._at_once = at_once

    @property
    def settings_model(self) -> SettingsModel:
        """Nothing to set."""
        return ScriptedSettings

    def traits(self, settings: Any) -> ChannelTraits:
        """Connectionless, and otherwise as the test chose."""
        return ChannelTraits(
            type=self.type,
            connection_oriented=False,
            ack_within=self._ack_within,
            largest_content=self._largest_content,
            needs_proof=self.needs_proof,
            cost=self._cost,
        )

    def offer(self, parameters: OfferParameters, settings: Any) -> Offered:
        """Any address. Raises Refusal (invalid) for an offer without one, or with more."""
        offered = texts(self.type, parameters, **{ADDRESS: r"(?s).+"})
        return Offered(offered, str(offered[ADDRESS]) if self.needs_proof else None)

    async def connect(self, settings: Any) -> _Channel:
        """A channel of its own for each worker."""
        return _Channel(self.provider, self.traits(settings), self._at_once)
