"""The link to one SMSC: it reconnects, and has a window, a rate limit and a circuit breaker."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from aoi_events.channels.base.breakers import Breakers
from aoi_events.channels.sms.inbound import take_message
from aoi_events.channels.sms.push import Push, part_failed
from aoi_events.channels.sms.rate_limit import RateLimit
from aoi_events.channels.sms.receipt_queue import ReceiptQueue
from aoi_events.channels.sms.reconnecting import ReconnectPause
from aoi_events.channels.sms.session import SmppSession
from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import RefusedNumbers, SubmitStatus, Submitted
from aoi_events.domain.providers.breaker import BreakerState
from aoi_events.errors import ProviderUnavailable
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.platform.tls import Trust

_NO_LINK: Final = "no link to the SMSC"
_WINDOWS: Final = 20
_WARN_EVERY: Final = 60.0

log = get_logger(__name__)


class SmscLink:
    """Submits pushes to one SMSC and receives its receipts; reconnects until it is closed.

    Every public method may be called at any time, by several tasks of one event loop.
    """

    def __init__(
        self, name: str, settings: SmscSettings, breakers: Breakers, receipts: ReceiptQueue
    ) -> None:
        """Raises ConfigurationError for a ``ca_file`` that cannot be read."""
        self.name: Final = name
        self.settings: Final = settings
        self.at_once: Final = _WINDOWS * settings.window
        """Pushes that the worker may pass at once: enough to fill the window several times."""
        self.known: Final = asyncio.Event()
        """Set once the state of the SMSC is known: a session was bound, or its breaker opened."""
        self._breakers: Final = breakers
        self._on_message: Final = partial(take_message, receipts, name)
        self._window: Final = asyncio.Semaphore(settings.window)
        self._rate: Final = RateLimit(settings.rate)
        self._not_throttled: Final = asyncio.Event()
        self._not_throttled.set()
        named = f"AOI_CHANNELS__SMS: ca_file of the SMSC {name}"
        self._trust = Trust(settings.ca_file, named) if settings.tls else None
        self._session: SmppSession | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._pushes = 0
        self._messages = 0
        self._warn_again: dict[str, float] = {}
        self._refused = RefusedNumbers()
        self._judged_at = float("-inf")
        self.in_use = 0
        """Submissions without a response so far."""
        self.latest_id = ""
        """The ID of the message that the SMSC took last."""

    @property
    def up(self) -> bool:
        """Whether a session is bound and the SMSC does not throttle us."""
        return self._bound is not None and self._not_throttled.is_set()

    @property
    def retry_after(self) -> float:
        """Seconds after which a retry may succeed, when too many messages wait."""
        return max(self._messages / (self.settings.rate or 1e9), self.settings.throttle_pause)

    def open(self) -> None:
        """Start to connect, in the background and until it is closed."""
        self._connecting = asyncio.create_task(
            self._stay_connected(), name=f"smsc-link {self.name}"
        )

    async def close(self) -> None:
        """End the session, and do not reconnect; idempotent."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    async def submit(self, push: Push) -> Submitted:
        """Submit a push, unless it expires before; takes at most ``turn_time`` plus
        ``response_time`` seconds.

        The messages of a push are sent one after the other, so that the SMSC gets them in order. A
        push is accepted when all its messages are; the first that is not ends it. Never raises for
        faults of the SMSC or the network.
        """
        count = len(push.parts)
        if not self._can_send_in_time(count):
            return Submitted(SubmitStatus.BUSY, detail="too many messages wait for the SMSC")
        if (admission := self._breakers.ask(self.name)) is None:
            return Submitted(SubmitStatus.UNAVAILABLE)
        self._pushes += 1
        self._messages += count
        try:
            with self._breakers.watched(admission):
                submitted = await self._submit_parts(push)
        finally:
            self._pushes -= 1
            self._messages -= count
        if submitted.status is SubmitStatus.UNAVAILABLE and not self._is_down():
            # The link was lost a moment ago, and may be back in the next.
            submitted = Submitted(SubmitStatus.NOT_SENT, detail=submitted.detail)
        if submitted.status in (SubmitStatus.UNAVAILABLE, SubmitStatus.UNANSWERED):
            self._breakers.troubled(admission, submitted.detail)
        elif submitted.status is SubmitStatus.NOT_SENT:
            self._breakers.unknown(admission)
        else:
            self._breakers.answered(admission)
        return submitted

    @property
    def _bound(self) -> SmppSession | None:
        session = self._session
        return None if session is None or session.lost else session

    def _is_down(self) -> bool:
        return self._breakers.of(self.name).state is not BreakerState.CLOSED

    def _can_send_in_time(self, count: int) -> bool:
        """Whether the push can be sent in time: a slow SMSC must take no room from the others."""
        rate, within = self.settings.rate, self.settings.turn_time
        slow = rate is not None and self._messages > 0 and self._messages + count > rate * within
        return self._pushes < self.at_once and not slow

    async def _submit_parts(self, push: Push) -> Submitted:
        turn_ends = asyncio.get_running_loop().time() + self.settings.turn_time
        until = min(turn_ends, push.expires_at)
        names: list[str | None] = []
        for number, user_data in enumerate(push.parts, 1):
            submitted = await self._submit_one(push, user_data, until)
            while number > 1 and submitted.status is SubmitStatus.THROTTLED:
                # The parts before it need not be sent again.
                submitted = await self._submit_one(push, user_data, until)
            if submitted.status is not SubmitStatus.ACCEPTED:
                return part_failed(submitted, number, len(push.parts))
            names += submitted.message_ids
        return Submitted(SubmitStatus.ACCEPTED, tuple(names))

    async def _submit_one(self, push: Push, user_data: bytes, until: float) -> Submitted:
        if self._bound is None:
            return Submitted(SubmitStatus.UNAVAILABLE, detail=_NO_LINK)
        try:
            async with asyncio.timeout_at(until):
                await self._window.acquire()
        except TimeoutError:
            return _not_sent(push, "the window was full for too long")
        try:
            async with asyncio.timeout_at(until):
                await self._not_throttled.wait()
                wait = self._rate.take(asyncio.get_running_loop().time(), until)
                if wait is None:
                    return _not_sent(push, "the rate limit was reached for too long")
                if wait:
                    await asyncio.sleep(wait)
        except TimeoutError:
            return _not_sent(push, "the SMSC throttled us for too long")
        else:
            return await self._exchange(push, user_data)
        finally:
            self._window.release()

    async def _exchange(self, push: Push, user_data: bytes) -> Submitted:
        if (session := self._bound) is None:
            return Submitted(SubmitStatus.UNAVAILABLE, detail=_NO_LINK)
        self.in_use += 1
        try:
            submitted = await session.submit(push, user_data)
            submitted = self._refused.judged(push.to.value, submitted, proved=push.proved)
        finally:
            self.in_use -= 1
        if submitted.status is not SubmitStatus.NOT_SENT:
            self._judged_at = asyncio.get_running_loop().time()
        if submitted.status is SubmitStatus.THROTTLED:
            self._pause()
        elif submitted.status is SubmitStatus.MISCONFIGURED:
            self._warn_operator(submitted.detail)
        elif submitted.message_ids:
            self.latest_id = submitted.message_ids[0] or ""
        return submitted

    def _warn_operator(self, why: str) -> None:
        """Warn of a refusal that blames our settings, once a minute for each reason."""
        now = asyncio.get_running_loop().time()
        if now >= self._warn_again.get(why, now):
            self._warn_again[why] = now + _WARN_EVERY
            log.warning("smsc_refuses_settings", smsc=self.name, why=why)

    def _pause(self) -> None:
        if self._not_throttled.is_set():
            pause = self.settings.throttle_pause
            log.info("smsc_throttled", smsc=self.name, pause=pause)
            self._not_throttled.clear()
            asyncio.get_running_loop().call_later(pause, self._not_throttled.set)

    async def _stay_connected(self) -> None:
        while self._connecting is not None:
            try:
                await self._keep_sessions()
            except Exception:
                # Without this task the SMSC would be out of use until the worker is started again.
                log.exception("smsc_link_failed", smsc=self.name)
                # A fault at the end of the session hides that the link was closed meanwhile.
                if self._connecting is not None:
                    await asyncio.sleep(self.settings.reconnect_most)

    async def _bind(self) -> SmppSession:
        tls = None if self._trust is None else self._trust.tls
        return await SmppSession.bind(self.name, self.settings, tls, self._on_message)

    async def _keep_sessions(self) -> None:
        settings = self.settings
        patience = RetryPolicy(first=settings.reconnect_first, most=settings.reconnect_most)
        pause = ReconnectPause(settings.reconnect_first, settings.reconnect_most)
        loop = asyncio.get_running_loop()
        while True:
            session = await retry(
                self._bind,
                policy=patience,
                on=ProviderUnavailable,
                failed=self._log_failure,
            )
            self._session, bound_at = session, loop.time()
            self._refused = RefusedNumbers()
            self._breakers.reachable(self.name)
            self.known.set()
            log.info("smsc_link_up", smsc=self.name)
            try:
                why = await session.ended()
                lasted = loop.time() - bound_at
            finally:
                self._session = None
                await session.close()
            # Where a message was sent, its result counts instead.
            if self._judged_at < bound_at and lasted < settings.reconnect_most:
                self._breakers.unreachable(self.name, f"link lost: {why}")
            elif self._judged_at < bound_at:
                self._breakers.idle(self.name)
            wait = pause.after(lasted)
            log.warning("smsc_link_lost", smsc=self.name, why=why, again_in=wait)
            await asyncio.sleep(wait)

    def _log_failure(self, attempt: FailedAttempt) -> None:
        self._breakers.unreachable(self.name, str(attempt.error))
        if self._is_down():
            self.known.set()
        log.warning(
            "smsc_unreachable",
            smsc=self.name,
            attempt=attempt.number,
            error=str(attempt.error),
            again_in=round(attempt.pause, 3),
        )


def _not_sent(push: Push, why: str) -> Submitted:
    """The result of a push that waited too long, or until it expired."""
    expired = asyncio.get_running_loop().time() >= push.expires_at
    return Submitted(
        SubmitStatus.NOT_SENT, detail="expired while it waited to be sent" if expired else why
    )
