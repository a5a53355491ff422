"""The sender of the SMS channel: it sends pushes as short messages and reads receipts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from aoi_events.channels.base.breakers import Breakers
from aoi_events.channels.base.results import result_of
from aoi_events.channels.sms.link import SmscLink
from aoi_events.channels.sms.numbers import destination
from aoi_events.channels.sms.offer import NUMBER
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.receipt_outcomes import named, outcome_of
from aoi_events.channels.sms.receipt_queue import QueuedReceipt, ReceiptQueue
from aoi_events.channels.sms.routing import routes
from aoi_events.channels.sms.settings import SmsSettings
from aoi_events.channels.sms.spelling import compared_digits
from aoi_events.channels.sms.status import MISCONFIGURED_FOR, SubmitStatus, Submitted
from aoi_events.channels.sms.validity import LONGEST
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.contracts.identifiers import id_octets
from aoi_events.domain.providers.breaker import Breaker, BreakerPolicy
from aoi_events.domain.retry import Backoff
from aoi_events.errors import MalformedPdu, PduTooLarge
from aoi_events.oma_push import payload as push_payload
from aoi_events.oma_push.datagrams import Bits, Reference
from aoi_events.oma_push.payload import ChallengePush, ContentPush, Payload, WakeUpPush
from aoi_events.platform.clock import SystemClock
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.channel import Receipt, SubmitResult
from aoi_events.ports.clock import Clock

_POLICY: Final = BreakerPolicy(failures=3, wait=Backoff(first=1.0, ceiling=30.0))
_NOTHING_SENT: Final = frozenset(
    {
        SubmitStatus.UNAVAILABLE,
        SubmitStatus.NOT_SENT,
        SubmitStatus.BUSY,
        SubmitStatus.MISCONFIGURED,
    }
)


class SmsChannel:
    """Sends each item as one connectionless push, of one short message or several.

    See :class:`aoi_events.ports.channel.ConnectionlessChannel`. All messages of a push go through
    one SMSC: the first of those that take the number, or the next one while that is down. An item
    without a response of the SMSC counts as refused, so it is sent again and may arrive twice, with
    the same delivery ID.
    """

    def __init__(self, settings: SmsSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock: Clock = clock or SystemClock()
        self._breakers = Breakers("sms", policy=_POLICY, clock=self._clock)
        self._receipts = ReceiptQueue()
        self._accounts = settings.accounts
        self._links = {
            name: SmscLink(name, smsc, self._breakers, self._receipts)
            for name, smsc in settings.providers.items()
        }
        self._closed = False

    @property
    def provider(self) -> str:
        """``sms``; the IDs of messages begin with the name of their SMSC, or of the first SMSC with
        the same account.
        """
        return "sms"

    def open(self) -> None:
        """Start to connect, in the background."""
        for link in self._links.values():
            link.open()

    @property
    def at_once(self) -> int:
        """Items that the worker may pass at once: the sum of the limits of all SMSCs."""
        return sum(link.at_once for link in self._links.values())

    def lane(self, item: DeliverItem | ChallengeItem) -> str:
        """The first SMSC that takes the number."""
        return next(iter(self._routes(item)), "")

    async def deliver(self, items: Sequence[DeliverItem | ChallengeItem]) -> Sequence[SubmitResult]:
        """One result per item, in order; within ``turn_time`` plus ``response_time`` seconds of
        each SMSC that may have to be tried.
        """
        return await asyncio.gather(*(self._deliver(item) for item in items))

    async def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """Final receipts of all SMSCs; ends when the channel is closed.

        A receipt may come before `deliver` has returned the message ID that it names, and twice.
        """
        async for batch in self._receipts.batches():
            yield [self._outcome_of(each) for each in batch]

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
        """Submissions to all SMSCs without a response so far."""
        return sum(link.in_use for link in self._links.values())

    async def healthy(self) -> bool:
        """Whether a session is bound that is not throttled, at any SMSC."""
        return any(link.up for link in self._links.values())

    async def close(self) -> None:
        """Unbind, and end the receipts; idempotent."""
        if not self._closed:
            self._closed = True
            await asyncio.gather(*(link.close() for link in self._links.values()))
            self._receipts.close()

    def _outcome_of(self, queued: QueuedReceipt) -> Receipt:
        link = self._links[queued.smsc]
        return replace(
            outcome_of(
                self._accounts[link.name],
                link.settings.receipt_ids,
                queued.receipt,
                link.latest_id,
            ),
            provider=link.name,
            acknowledge=queued.acknowledge,
        )

    def _routes(self, item: DeliverItem | ChallengeItem) -> list[str]:
        return routes(str(item.parameters.get(NUMBER, "")), self._settings.providers)

    async def _deliver(self, item: DeliverItem | ChallengeItem) -> SubmitResult:
        push = self._prepare(item, self._clock.now())
        if not isinstance(push, Push):
            return push
        links = [self._links[name] for name in self._routes(item)]
        if not links:
            why = "no SMSC takes numbers that begin like this one"
            return result_of(item, OutcomeKind.REJECTED, self._clock.now(), why)
        await _wait_for_links(links)
        unsent: list[SubmitResult] = []
        for link in links:
            submitted = await link.submit(push)
            sent = self._sent(item, link, submitted, self._clock.now())
            if submitted.status not in _NOTHING_SENT:
                return sent
            unsent.append(sent)
        return unsent[0]

    def _prepare(self, item: DeliverItem | ChallengeItem, now: datetime) -> Push | SubmitResult:
        if item.expires_at <= now:
            return result_of(item, OutcomeKind.REFUSED, now, "expired before it was submitted")
        to = destination(str(item.parameters.get(NUMBER, "")))
        if to is None:
            why = f"the parameter {NUMBER} is not a telephone number"
            return result_of(item, OutcomeKind.REJECTED, now, why, closes_channel=True)
        try:
            parts = push_payload.encode(
                _payload(item),
                transaction_id=_transaction(item),
                most=self._settings.parts,
                reference=_reference(item, self._settings.reference_bits),
            )
        except (PduTooLarge, MalformedPdu) as error:
            return result_of(item, OutcomeKind.REJECTED, now, str(error))
        left = (item.expires_at - now) / timedelta(seconds=1)
        valid_until = min(item.expires_at, now + timedelta(seconds=LONGEST))
        expires_at = asyncio.get_running_loop().time() + left
        return Push(to, parts, expires_at, valid_until, proved=isinstance(item, DeliverItem))

    def _sent(
        self,
        item: DeliverItem | ChallengeItem,
        link: SmscLink,
        submitted: Submitted,
        now: datetime,
    ) -> SubmitResult:
        detail = submitted.detail
        match submitted.status:
            case SubmitStatus.ACCEPTED:
                account = self._accounts[link.name]
                names = tuple(name and named(account, name) for name in submitted.message_ids)
                return result_of(
                    item,
                    OutcomeKind.ACCEPTED,
                    now,
                    detail,
                    provider_messages=names,
                    address=compared_digits(str(item.parameters.get(NUMBER, ""))),
                )
            case SubmitStatus.THROTTLED:
                wait = link.settings.throttle_pause
                return result_of(
                    item, OutcomeKind.REFUSED, now, detail, retry_after=wait, throttled=True
                )
            case SubmitStatus.UNAVAILABLE:
                return self._breakers.unavailable(link.name, item)
            case SubmitStatus.BUSY:
                return result_of(
                    item, OutcomeKind.UNAVAILABLE, now, detail, retry_after=link.retry_after
                )
            case SubmitStatus.MISCONFIGURED:
                return result_of(
                    item, OutcomeKind.UNAVAILABLE, now, detail, retry_after=MISCONFIGURED_FOR
                )
            case SubmitStatus.REFUSED | SubmitStatus.UNANSWERED | SubmitStatus.NOT_SENT:
                detail = f"{submitted.status}: {detail}"
                return result_of(
                    item, OutcomeKind.REFUSED, now, detail, retry_after=submitted.retry_after
                )
            case SubmitStatus.REJECTED:
                return result_of(item, OutcomeKind.REJECTED, now, detail)
            case SubmitStatus.BAD_ADDRESS:
                return result_of(item, OutcomeKind.REJECTED, now, detail, closes_channel=True)
            case _:
                assert_never(submitted.status)


async def _wait_for_links(links: Sequence[SmscLink]) -> None:
    """Wait until a link is up, or the state of every link is known.

    This takes time only at the start of a worker, and at most ``turn_time``.
    """
    with suppress(TimeoutError):  # the submission that follows reports that nothing could be sent
        async with asyncio.timeout(links[0].settings.turn_time):
            while not any(link.up for link in links):
                unknown = [link.known.wait() for link in links if not link.known.is_set()]
                if not unknown:
                    return
                await first_completed(*unknown)


def _payload(item: DeliverItem | ChallengeItem) -> Payload:
    if isinstance(item, ChallengeItem):
        return ChallengePush(item.code)
    if item.wake_up:
        return WakeUpPush(item.delivery, item.fingerprint)
    return ContentPush(item.delivery, item.fingerprint, item.content)


def _transaction(item: DeliverItem | ChallengeItem) -> int:
    """The transaction ID: telephones drop a push whose ID repeats, so each attempt has another."""
    start = 0 if isinstance(item, ChallengeItem) else id_octets(item.delivery)[0]
    return (start + item.attempt) % 256


def _reference(item: DeliverItem | ChallengeItem, bits: Bits) -> Reference:
    """The reference of the parts of a push: each attempt has another, so that parts of two attempts
    do not mix; most deliveries have, too.
    """
    start = b"" if isinstance(item, ChallengeItem) else id_octets(item.delivery)[1:3]
    return Reference(bits, (int.from_bytes(start, "big") + item.attempt) % (1 << bits))
