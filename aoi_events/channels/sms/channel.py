"""The sender of the SMS channel: from deliveries and challenges to short messages and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, assert_never

from aoi_events.channels.base.breakers import Breakers
from aoi_events.channels.base.results import ended
from aoi_events.channels.sms.inbox import Inbox
from aoi_events.channels.sms.link import SmscLink
from aoi_events.channels.sms.numbers import destination
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.receipts import MessageState, SmscReceipt
from aoi_events.channels.sms.routing import routes
from aoi_events.channels.sms.settings import SmsSettings
from aoi_events.channels.sms.status import Submitted, Verdict
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.contracts.identifiers import id_octets
from aoi_events.domain.providers.breaker import Breaker, BreakerPolicy
from aoi_events.domain.retry import Backoff
from aoi_events.errors import MalformedPdu, PduTooLarge
from aoi_events.oma_push import payload as push_payload
from aoi_events.oma_push.datagrams import Bits, Reference
from aoi_events.oma_push.payload import ChallengePush, ContentPush, Payload, WakeUpPush
from aoi_events.platform.clock import SystemClock
from aoi_events.ports.channel import Receipt, Sent
from aoi_events.ports.clock import Clock

__all__ = ["NUMBER", "SmsChannel"]

NUMBER: Final = "msisdn"
"""The parameter that holds the telephone number, ``+`` and digits (E.164)."""

_POLICY: Final = BreakerPolicy(failures=3, wait=Backoff(first=1.0, ceiling=30.0))
_NOTHING_SENT: Final = frozenset({Verdict.UNAVAILABLE, Verdict.NOT_SENT, Verdict.BUSY})


class SmsChannel:
    """Sends each item as one connectionless push, of one short message or several.

    See :class:`aoi_events.ports.channel.ConnectionlessChannel`. All messages of a push go through
    one SMSC: the first of those that take the number, or the next one while that is down. An item
    that an SMSC never answered counts as refused, so it is sent again and may arrive twice, with
    the same delivery ID.
    """

    def __init__(self, settings: SmsSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock: Clock = clock or SystemClock()
        self._breakers = Breakers("sms", policy=_POLICY, clock=self._clock)
        self._inbox = Inbox()
        self._links = {
            name: SmscLink(name, smsc, self._breakers, self._inbox)
            for name, smsc in settings.providers.items()
        }
        self._closed = False

    @property
    def provider(self) -> str:
        """``sms``; names of messages begin with that of their SMSC."""
        return "sms"

    def open(self) -> None:
        """Start to connect, in the background."""
        for link in self._links.values():
            link.open()

    @property
    def at_once(self) -> int:
        """As many as the SMSCs want together; none of them takes more than its own."""
        return sum(link.at_once for link in self._links.values())

    def lane(self, item: DeliverItem | ChallengeItem) -> str:
        """The first SMSC that takes the number."""
        return next(iter(self._routes(item)), "")

    async def deliver(self, items: Sequence[DeliverItem | ChallengeItem]) -> Sequence[Sent]:
        """One result per item, in order; within ``turn_time`` plus ``response_time`` seconds of
        each SMSC that may have to be tried.
        """
        return await asyncio.gather(*(self._deliver(item) for item in items))

    async def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """What SMSCs say later of messages that they took; ends when the channel is closed.

        A receipt may come before `deliver` has returned the message ID that it names, and twice.
        """
        async for batch in self._inbox.batches():
            told = [_receipt(smsc, heard) for smsc, heard in batch]
            if known := [receipt for receipt in told if receipt is not None]:
                yield known

    @property
    def providers(self) -> Collection[str]:
        """The SMSCs."""
        return self._links.keys()

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """The SMSCs whose breaker is not closed."""
        return self._breakers.in_trouble

    @property
    def window_in_use(self) -> int:
        """Submissions that no SMSC has answered."""
        return sum(link.in_use for link in self._links.values())

    async def healthy(self) -> bool:
        """Whether a session is bound that is not throttled."""
        return any(link.up for link in self._links.values())

    async def close(self) -> None:
        """Unbind, and end the receipts; idempotent."""
        if not self._closed:
            self._closed = True
            await asyncio.gather(*(link.close() for link in self._links.values()))
            self._inbox.close()

    def _routes(self, item: DeliverItem | ChallengeItem) -> list[str]:
        return routes(str(item.parameters.get(NUMBER, "")), self._settings.providers)

    async def _deliver(self, item: DeliverItem | ChallengeItem) -> Sent:
        push = self._prepare(item, self._clock.now())
        if not isinstance(push, Push):
            return push
        links = [self._links[name] for name in self._routes(item)]
        if not links:
            why = "no SMSC takes numbers that begin like this one"
            return ended(item, OutcomeKind.REJECTED, self._clock.now(), why)
        await _some_known(links)
        kept_back: list[Sent] = []
        for link in links:
            submitted = await link.submit(push)
            sent = self._sent(item, link, submitted, self._clock.now())
            if submitted.verdict not in _NOTHING_SENT:
                return sent
            kept_back.append(sent)
        return kept_back[0]

    def _prepare(self, item: DeliverItem | ChallengeItem, now: datetime) -> Push | Sent:
        if item.expires_at <= now:
            return ended(item, OutcomeKind.REFUSED, now, "expired before it was submitted")
        to = destination(str(item.parameters.get(NUMBER, "")))
        if to is None:
            why = f"the parameter {NUMBER} is no telephone number"
            return ended(item, OutcomeKind.REJECTED, now, why, closes_channel=True)
        try:
            parts = push_payload.encode(
                _payload(item),
                transaction_id=_transaction(item),
                most=self._settings.parts,
                reference=_reference(item, self._settings.reference_bits),
            )
        except (PduTooLarge, MalformedPdu) as error:
            return ended(item, OutcomeKind.REJECTED, now, str(error))
        left = (item.expires_at - now) / timedelta(seconds=1)
        return Push(to, parts, asyncio.get_running_loop().time() + left)

    def _sent(
        self,
        item: DeliverItem | ChallengeItem,
        link: SmscLink,
        submitted: Submitted,
        now: datetime,
    ) -> Sent:
        detail = submitted.detail
        match submitted.verdict:
            case Verdict.ACCEPTED:
                names = tuple(name and _named(link.name, name) for name in submitted.message_ids)
                return ended(item, OutcomeKind.ACCEPTED, now, detail, provider_messages=names)
            case Verdict.THROTTLED:
                wait = link.settings.throttle_pause
                return ended(
                    item, OutcomeKind.REFUSED, now, detail, retry_after=wait, throttled=True
                )
            case Verdict.UNAVAILABLE:
                return self._breakers.kept_back(link.name, item)
            case Verdict.BUSY:
                return ended(item, OutcomeKind.UNAVAILABLE, now, detail, retry_after=link.busy_for)
            case Verdict.REFUSED | Verdict.UNANSWERED | Verdict.NOT_SENT:
                detail = f"{submitted.verdict}: {detail}"
                return ended(item, OutcomeKind.REFUSED, now, detail)
            case Verdict.REJECTED:
                return ended(item, OutcomeKind.REJECTED, now, detail)
            case Verdict.BAD_ADDRESS:
                return ended(item, OutcomeKind.REJECTED, now, detail, closes_channel=True)
            case _:
                assert_never(submitted.verdict)


async def _some_known(links: Sequence[SmscLink]) -> None:
    """Return once one of them is up, or none works as far as is known: only at the start somebody
    waits here, for a turn at most.
    """
    waiting = {asyncio.create_task(link.known.wait()) for link in links if not link.known.is_set()}
    try:
        async with asyncio.timeout(links[0].settings.turn_time):
            while waiting and not any(link.up for link in links):
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        pass  # what happens next says that nothing could be sent
    finally:
        for task in waiting:
            task.cancel()


def _named(smsc: str, message: str) -> str:
    """What a message is called among those of all SMSCs."""
    return f"{smsc} {message}"


def _payload(item: DeliverItem | ChallengeItem) -> Payload:
    if isinstance(item, ChallengeItem):
        return ChallengePush(item.code)
    if item.wake_up:
        return WakeUpPush(item.delivery, item.fingerprint)
    return ContentPush(item.delivery, item.fingerprint, item.content)


def _transaction(item: DeliverItem | ChallengeItem) -> int:
    """Differs between attempts, and mostly between deliveries: telephones drop repeats."""
    start = 0 if isinstance(item, ChallengeItem) else id_octets(item.delivery)[0]
    return (start + item.attempt) % 256


def _reference(item: DeliverItem | ChallengeItem, bits: Bits) -> Reference:
    """Differs between attempts, so that no part of an earlier one stands for one of this, and
    mostly between deliveries: with a telephone's day of parts in mind, 16 bits are many.
    """
    start = b"" if isinstance(item, ChallengeItem) else id_octets(item.delivery)[1:3]
    return Reference(bits, (int.from_bytes(start, "big") + item.attempt) % (1 << bits))


def _receipt(smsc: str, heard: SmscReceipt) -> Receipt | None:
    """What a receipt means for the step; None for one that only says that the SMSC still tries.

    That a network could not reach a telephone says nothing about the number, so no receipt closes
    the channel.
    """
    match heard.state:
        case MessageState.ENROUTE | MessageState.ACCEPTED:
            return None
        case MessageState.DELIVERED:
            kind = OutcomeKind.RECEIPTED
        case MessageState.EXPIRED | MessageState.UNKNOWN:
            kind = OutcomeKind.REFUSED
        case MessageState.DELETED | MessageState.UNDELIVERABLE | MessageState.REJECTED:
            kind = OutcomeKind.REJECTED
        case _:
            assert_never(heard.state)
    detail = f"SMSC receipt {heard.state.name}"
    if heard.error:
        detail += f", network error {heard.error}"
    return Receipt(_named(smsc, heard.message_id), kind.value, detail)
