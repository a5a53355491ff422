"""One link to one SMSC: a transceiver over SMPP 3.4, kept up, with a window of our own.

What the SMPP library (smpp34 1.5) leaves to us, found by experiment:

* It does not hold back submissions beyond the window: a semaphore does.
* It waits 30 s for a response, also when its client stops: every submission is raced against our
  own time-out and against the end of the session.
* A lost link, a time-out, an unreadable response and a ``generic_nack`` are one exception,
  ``SmppError``; only a ``generic_nack`` tells its status, in the text.
* A refused bind (a wrong password) looks like an SMSC that never answers.
* It sends ``enquire_link`` every 30 s and waits as long for the answer, so a link cut without a
  word is noticed after a minute; a submission that nothing answers ends it sooner.
* Its inbound queue drops the word that the session ended when it is full: ``next()`` is drained
  without pause, and asked now and then whether the session lives.
* A client that stops without ``unbind`` leaves its connection open for up to 30 s.
* It acknowledges a receipt to the SMSC as soon as it is queued here, so one can be lost with the
  process. Nothing depends on receipts alone: a step without one ends at its deadline.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import smpp34

from aoi_events.channels.breakers import Breakers
from aoi_events.channels.sms.numbers import source
from aoi_events.channels.sms.push import Push, broken_off
from aoi_events.channels.sms.receipts import SmscReceipt, read_receipt
from aoi_events.channels.sms.runtime import rest_before_exit
from aoi_events.channels.sms.settings import SmsSettings
from aoi_events.channels.sms.status import SYSTEM_ERROR, Submitted, Verdict, verdict_of
from aoi_events.channels.sms.validity import relative_time
from aoi_events.domain.breaker import BreakerState
from aoi_events.errors import MalformedPdu, ProviderUnavailable
from aoi_events.ports.logs import get_logger
from aoi_events.ports.patience import Attempt, Patience, patiently

__all__ = ["SmscLink"]

_USER_DATA_HEADER: Final = 0x40  # esm_class, SMPP 3.4, 5.2.12
_OCTETS: Final = 0x04  # data_coding: 8-bit binary, 5.2.19
_WITH_RECEIPT: Final = 0x01  # registered_delivery, 5.2.17
_LIVENESS_INTERVAL: Final = 5.0
_UNBIND_TIME: Final = 1.0
_NO_LINK: Final = "no link to the SMSC"
_RECEIPTS_HELD: Final = 10_000
_RECEIPTS_AT_ONCE: Final = 500
_NACK_STATUS: Final = re.compile(r"\(0x([0-9A-Fa-f]{8})\)$")

log = get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Session:
    """A bound session; ``lost`` is done as soon as it has ended, for whatever reason."""

    client: smpp34.Client
    smsc: smpp34.Smsc
    lost: asyncio.Future[None]
    heard_at: float = field(default=0.0)

    def lose(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class SmscLink:
    """Submits messages and hears receipts; connects again by itself until it is closed.

    Every public method may be called at any time, by several tasks of one event loop.
    """

    def __init__(self, settings: SmsSettings, breakers: Breakers) -> None:
        if settings.host is None:
            raise ValueError("an SMSC link needs settings.host")
        rest_before_exit()
        self.name: Final = f"{settings.system_id}@{settings.host}:{settings.port}"
        self._host: Final = settings.host
        self._settings: Final = settings
        self._breakers: Final = breakers
        self._source: Final = source(settings.source)
        self._window: Final = asyncio.Semaphore(settings.window)
        self._up: Final = asyncio.Event()
        self._down: Final = asyncio.Event()
        self._not_throttled: Final = asyncio.Event()
        self._not_throttled.set()
        self._session: _Session | None = None
        self._receipts: Final[asyncio.Queue[SmscReceipt | None]] = asyncio.Queue(_RECEIPTS_HELD)
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False
        self.in_use = 0
        """Submissions that wait for their response now."""

    @property
    def up(self) -> bool:
        """Whether a session is bound and the SMSC has not asked us to slow down."""
        return self._up.is_set() and self._not_throttled.is_set()

    def open(self) -> None:
        """Start to connect, in the background and for ever."""
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep_up(), name=f"smsc-link {self.name}")

    async def close(self) -> None:
        """End the session and the receipts; idempotent."""
        if self._closed:
            return
        self._closed = True
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        if self._receipts.full():  # the end must be heard; a receipt may be lost
            self._receipts.get_nowait()
        self._receipts.put_nowait(None)

    async def ready(self) -> None:
        """Return once a session is bound and not throttled."""
        while not self.up:
            await self._up.wait()
            await self._not_throttled.wait()

    async def _ready_or_down(self) -> None:
        """Return once a message can be sent, or there is no link: not even the first one."""
        if self.up:
            return
        ready, down = asyncio.create_task(self.ready()), asyncio.create_task(self._down.wait())
        try:
            await asyncio.wait([ready, down], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            down.cancel()

    def _is_down(self) -> bool:
        return self._breakers.of(self.name).state is not BreakerState.CLOSED

    async def submit(self, pushes: Sequence[Push]) -> list[Submitted]:
        """Submit all, at most a window of messages at once; one verdict each, in order.

        Of a push of several messages one goes after the other, so that the SMSC has them in order;
        it is accepted when all are, and the first that is not ends it. Within ``turn_time`` plus
        ``response_time`` seconds; raises nothing for what the SMSC or the network does.
        """
        until = asyncio.get_running_loop().time() + self._settings.turn_time
        return list(await asyncio.gather(*(self._submit(push, until) for push in pushes)))

    async def receipts(self) -> AsyncIterator[list[SmscReceipt]]:
        """Receipts as they come, whatever waits at once; ends when the link is closed."""
        while (first := await self._receipts.get()) is not None:
            batch = [first]
            while len(batch) < _RECEIPTS_AT_ONCE and not self._receipts.empty():
                following = self._receipts.get_nowait()
                if following is None:
                    self._receipts.put_nowait(None)
                    break
                batch.append(following)
            yield batch
        self._receipts.put_nowait(None)  # for whoever else listens, or listens again

    async def _submit(self, push: Push, until: float) -> Submitted:
        if (admission := self._breakers.ask(self.name)) is None:
            return Submitted(Verdict.UNAVAILABLE)
        with self._breakers.watched(admission):
            submitted = await self._submit_parts(push, until)
        if submitted.verdict is Verdict.UNAVAILABLE and not self._is_down():
            # The link was lost a moment ago, and may be back in another.
            submitted = Submitted(Verdict.NOT_SENT, detail=submitted.detail)
        if submitted.verdict in (Verdict.UNAVAILABLE, Verdict.UNANSWERED):
            self._breakers.troubled(admission, submitted.detail)
        elif submitted.verdict is Verdict.NOT_SENT:
            self._breakers.unknown(admission)
        else:
            self._breakers.answered(admission)
        return submitted

    async def _submit_parts(self, push: Push, until: float) -> Submitted:
        names: list[str | None] = []
        for number, user_data in enumerate(push.parts, 1):
            submitted = await self._submit_one(push, user_data, until)
            while number > 1 and submitted.verdict is Verdict.THROTTLED:
                # What came before it need not go out again for this.
                submitted = await self._submit_one(push, user_data, until)
            if submitted.verdict is not Verdict.ACCEPTED:
                return broken_off(submitted, number, len(push.parts))
            names += submitted.message_ids
        return Submitted(Verdict.ACCEPTED, tuple(names))

    async def _submit_one(self, push: Push, user_data: bytes, until: float) -> Submitted:
        try:
            async with asyncio.timeout_at(until):
                await self._window.acquire()
        except TimeoutError:
            return Submitted(Verdict.NOT_SENT, detail="no room in the window for too long")
        try:
            async with asyncio.timeout_at(until):
                await self._ready_or_down()
            session = self._session
            if session is None:
                return Submitted(Verdict.UNAVAILABLE, detail=_NO_LINK)
            return await self._exchange(session, push, user_data)
        except TimeoutError:
            if not self._up.is_set():
                return Submitted(Verdict.UNAVAILABLE, detail=_NO_LINK)
            return Submitted(Verdict.NOT_SENT, detail="the SMSC throttles us for too long")
        finally:
            self._window.release()

    async def _exchange(self, session: _Session, push: Push, user_data: bytes) -> Submitted:
        loop = asyncio.get_running_loop()
        submitted_at = loop.time()
        response = asyncio.ensure_future(
            session.smsc.submit_sm(
                push.to.value,
                user_data,
                source_addr=self._source.value,
                source_addr_ton=self._source.ton,
                source_addr_npi=self._source.npi,
                dest_addr_ton=push.to.ton,
                dest_addr_npi=push.to.npi,
                esm_class=_USER_DATA_HEADER,
                data_coding=_OCTETS,
                registered_delivery=_WITH_RECEIPT,
                validity_period=relative_time(push.valid_for),
            )
        )
        either: set[asyncio.Future[Any]] = {response, session.lost}
        self.in_use += 1
        try:
            await asyncio.wait(
                either,
                timeout=self._settings.response_time,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if response.done():
                return await self._read(session, response)
        finally:
            self.in_use -= 1
            if not response.done():
                response.cancel()
        if session.lost.done():
            return Submitted(Verdict.UNANSWERED, detail="the link was lost before the response")
        waited = f"no response within {self._settings.response_time:g} s"
        if session.heard_at < submitted_at:
            # Nothing at all came since: the link is dead rather than the one message stuck.
            log.warning("smsc_link_silent", smsc=self.name, why=waited)
            self._drop(session)
        return Submitted(Verdict.UNANSWERED, detail=waited)

    async def _read(
        self, session: _Session, response: asyncio.Future[smpp34.SubmitSmResp]
    ) -> Submitted:
        error = response.exception()
        if error is None:
            session.heard_at = asyncio.get_running_loop().time()
            answer = response.result()
            verdict = verdict_of(answer.command_status, answer.message_id)
        elif isinstance(error, smpp34.SmppError):
            status = _NACK_STATUS.search(str(error))
            if status is None or int(status.group(1), 16) in (0, SYSTEM_ERROR):
                if not await session.client.is_alive():
                    self._drop(session)  # before the next submission walks into it
                return Submitted(Verdict.UNANSWERED, detail="link lost, or an unreadable response")
            verdict = verdict_of(int(status.group(1), 16), None)
        else:
            raise error
        if verdict.verdict is Verdict.THROTTLED:
            self._hold_back()
        return verdict

    def _hold_back(self) -> None:
        if self._not_throttled.is_set():
            pause = self._settings.throttle_pause
            log.info("smsc_throttled", smsc=self.name, pause=pause)
            self._not_throttled.clear()
            asyncio.get_running_loop().call_later(pause, self._not_throttled.set)

    async def _keep_up(self) -> None:
        settings = self._settings
        patience = Patience(first=settings.reconnect_first, most=settings.reconnect_most)
        while True:
            session = await patiently(
                self._connect, patience=patience, on=ProviderUnavailable, failed=self._log_failure
            )
            self._session = session
            self._up.set()
            self._down.clear()
            self._breakers.reachable(self.name)
            log.info("smsc_link_up", smsc=self.name)
            try:
                await self._listen(session)
            finally:
                self._drop(session)
                await _end(session)
            log.warning("smsc_link_lost", smsc=self.name)
            # So that an SMSC that binds and hangs up at once is not called without pause.
            await asyncio.sleep(settings.reconnect_first)

    def _drop(self, session: _Session) -> None:
        """Use the session no more; `_keep_up` builds the next one."""
        session.lose()
        if self._session is session:
            self._session = None
            self._up.clear()
            self._down.set()

    async def _connect(self) -> _Session:
        settings = self._settings
        client = smpp34.Client(
            self._host,
            settings.port,
            settings.system_id,
            settings.password.get_secret_value(),
            bind_type="TRX",
            system_type=settings.system_type,
            tls=settings.tls,
            window_size=settings.window,
            connect_timeout_ms=int(settings.connect_time * 1_000),
        )
        connecting = asyncio.ensure_future(client.connect())
        try:
            async with asyncio.timeout(settings.connect_time):
                smsc = await asyncio.shield(connecting)
        except (smpp34.SmppError, TimeoutError) as error:
            connecting.cancel()
            await client.stop()
            why = str(error) or "bind timed out"
            if "timed out" in why:
                why += " (a bind that the SMSC refuses looks the same: check system_id, password)"
            raise ProviderUnavailable(f"SMSC {self.name}: {why}") from None
        except asyncio.CancelledError:
            # The SMSC may have bound us already: say goodbye, or it keeps a session for nobody.
            with suppress(TimeoutError, smpp34.SmppError):
                async with asyncio.timeout(_UNBIND_TIME):
                    smsc = await connecting
                    await smsc.unbind()
            await client.stop()
            raise
        loop = asyncio.get_running_loop()
        return _Session(client, smsc, loop.create_future(), loop.time())

    def _log_failure(self, attempt: Attempt) -> None:
        self._breakers.unreachable(self.name, _NO_LINK)
        if self._is_down():
            self._down.set()
        error, again_in = str(attempt.error), round(attempt.pause, 3)
        log.warning("smsc_unreachable", smsc=self.name, error=error, again_in=again_in)

    async def _listen(self, session: _Session) -> None:
        """Hear what the SMSC delivers until the session ends."""
        event = asyncio.ensure_future(session.smsc.next())
        try:
            while True:
                either: set[asyncio.Future[Any]] = {event, session.lost}
                await asyncio.wait(
                    either, timeout=_LIVENESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                if session.lost.done():
                    return
                if event.done():
                    heard = event.result()
                    if isinstance(heard, smpp34.Disconnected):
                        return
                    event = asyncio.ensure_future(session.smsc.next())
                    session.heard_at = asyncio.get_running_loop().time()
                    await self._hear(heard)
                elif not await session.client.is_alive():
                    return
        finally:
            event.cancel()
            with suppress(asyncio.CancelledError):
                await event

    async def _hear(self, event: smpp34.DeliverSmEvent) -> None:
        try:
            receipt = read_receipt(
                event.esm_class, event.short_message, ((tlv.tag, tlv.value) for tlv in event.tlvs)
            )
        except MalformedPdu as error:
            log.warning("smsc_receipt_unreadable", smsc=self.name, error=str(error))
            return
        if receipt is None:
            log.debug("smsc_message_ignored", smsc=self.name)  # nobody writes to us by SMS
            return
        # A full queue stops the draining: then the library refuses further receipts, and the SMSC
        # sends them again.
        await self._receipts.put(receipt)


async def _end(session: _Session) -> None:
    """Say goodbye if anybody listens, and stop; bounded."""
    with suppress(TimeoutError, smpp34.SmppError):
        async with asyncio.timeout(_UNBIND_TIME):
            await session.smsc.unbind()
    await session.client.stop()
