"""The sender of the SMS channel: from deliveries and challenges to short messages and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, assert_never

from aoi_events.channels.breakers import Breakers
from aoi_events.channels.results import ended
from aoi_events.channels.sms.numbers import destination
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.receipts import MessageState, SmscReceipt
from aoi_events.channels.sms.settings import SmsSettings
from aoi_events.channels.sms.smpp import SmscLink
from aoi_events.channels.sms.status import Submitted, Verdict
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.contracts.identifiers import id_octets
from aoi_events.domain import push_payload
from aoi_events.domain.breaker import Breaker, BreakerPolicy
from aoi_events.domain.datagrams import Bits, Reference
from aoi_events.domain.push_payload import ChallengePush, ContentPush, Payload, WakeUpPush
from aoi_events.domain.retry import Backoff
from aoi_events.errors import MalformedPdu, PduTooLarge
from aoi_events.ports.channel import Receipt, Sent
from aoi_events.ports.clock import Clock, SystemClock

__all__ = ["NUMBER", "SmsChannel"]

NUMBER: Final = "msisdn"
"""The parameter that holds the telephone number, ``+`` and digits (E.164)."""

_TURNS: Final = 20
_POLICY: Final = BreakerPolicy(failures=3, wait=Backoff(first=1.0, ceiling=30.0))


class SmsChannel:
    """Sends each item as one connectionless push, of one short message or several.

    See :class:`aoi_events.ports.channel.ConnectionlessChannel`. An item that the SMSC never
    answered counts as refused, so it is sent again and may arrive twice, with the same delivery ID.
    """

    def __init__(self, settings: SmsSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock: Clock = clock or SystemClock()
        self._breakers = Breakers("sms", policy=_POLICY, clock=self._clock)
        self._link = SmscLink(settings, self._breakers)

    @property
    def provider(self) -> str:
        """Our name at the SMSC, and where it is."""
        return self._link.name

    def open(self) -> None:
        """Start to connect, in the background."""
        self._link.open()

    @property
    def at_once(self) -> int:
        """As many as its window takes in some turns."""
        return _TURNS * self._settings.window

    def lane(self, item: DeliverItem | ChallengeItem) -> str:
        """There is one SMSC."""
        return self.provider

    async def deliver(self, items: Sequence[DeliverItem | ChallengeItem]) -> Sequence[Sent]:
        """One result per item, in order; within ``turn_time`` plus ``response_time`` seconds."""
        now = self._clock.now()
        prepared = [self._prepare(item, now) for item in items]
        pushes = [push for push in prepared if isinstance(push, Push)]
        verdicts = iter(await self._link.submit(pushes))
        answered_at = self._clock.now()
        return [
            self._sent(item, next(verdicts), answered_at) if isinstance(push, Push) else push
            for item, push in zip(items, prepared, strict=True)
        ]

    async def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """What the SMSC says later of messages that it took; ends when the channel is closed.

        A receipt may come before `deliver` has returned the message ID that it names, and twice.
        """
        async for batch in self._link.receipts():
            known = [receipt for heard in batch if (receipt := _receipt(heard)) is not None]
            if known:
                yield known

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """The SMSC, while its breaker is not closed."""
        return self._breakers.in_trouble

    @property
    def window_in_use(self) -> int:
        """Submissions that the SMSC has not answered."""
        return self._link.in_use

    async def healthy(self) -> bool:
        """Whether a session is bound that is not throttled."""
        return self._link.up

    async def close(self) -> None:
        """Unbind, and end the receipts; idempotent."""
        await self._link.close()

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
        return Push(to, parts, (item.expires_at - now) / timedelta(seconds=1))

    def _sent(self, item: DeliverItem | ChallengeItem, submitted: Submitted, now: datetime) -> Sent:
        detail = submitted.detail
        match submitted.verdict:
            case Verdict.ACCEPTED:
                return ended(
                    item, OutcomeKind.ACCEPTED, now, detail, provider_messages=submitted.message_ids
                )
            case Verdict.THROTTLED:
                pause = self._settings.throttle_pause
                return ended(
                    item, OutcomeKind.REFUSED, now, detail, retry_after=pause, throttled=True
                )
            case Verdict.UNAVAILABLE:
                return self._breakers.kept_back(self.provider, item)
            case Verdict.REFUSED | Verdict.UNANSWERED | Verdict.NOT_SENT:
                detail = f"{submitted.verdict}: {detail}"
                return ended(item, OutcomeKind.REFUSED, now, detail)
            case Verdict.REJECTED:
                return ended(item, OutcomeKind.REJECTED, now, detail)
            case Verdict.BAD_ADDRESS:
                return ended(item, OutcomeKind.REJECTED, now, detail, closes_channel=True)
            case _:
                assert_never(submitted.verdict)


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


def _receipt(heard: SmscReceipt) -> Receipt | None:
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
    return Receipt(heard.message_id, kind.value, detail)
