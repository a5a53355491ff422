"""One link to one SMSC: kept up, with a window, a pace and a breaker of its own."""

from __future__ import annotations

import asyncio
from typing import Final

from aoi_events.channels.base.breakers import Breakers
from aoi_events.channels.sms.inbox import Inbox
from aoi_events.channels.sms.pacing import Pace
from aoi_events.channels.sms.push import Push, broken_off
from aoi_events.channels.sms.receipts import SmscReceipt
from aoi_events.channels.sms.runtime import rest_before_exit
from aoi_events.channels.sms.session import Session
from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import Submitted, Verdict
from aoi_events.domain.providers.breaker import BreakerState
from aoi_events.errors import ProviderUnavailable
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry

__all__ = ["SmscLink"]

_NO_LINK: Final = "no link to the SMSC"
_TURNS: Final = 20

log = get_logger(__name__)


class SmscLink:
    """Submits pushes and hears receipts; connects again by itself until it is closed.

    Every public method may be called at any time, by several tasks of one event loop. The SMPP
    library does not hold back submissions beyond the window: a semaphore does.
    """

    def __init__(self, name: str, settings: SmscSettings, breakers: Breakers, inbox: Inbox) -> None:
        rest_before_exit()
        self.name: Final = name
        self.settings: Final = settings
        self.at_once: Final = _TURNS * settings.window
        """Pushes that it wants to have at once: as many as its window takes in some turns."""
        self.known: Final = asyncio.Event()
        """Set once it is known whether the SMSC works: it was bound, or its breaker opened."""
        self._breakers: Final = breakers
        self._inbox: Final = inbox
        self._window: Final = asyncio.Semaphore(settings.window)
        self._pace: Final = Pace(settings.rate)
        self._not_throttled: Final = asyncio.Event()
        self._not_throttled.set()
        self._session: Session | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._pushes = 0
        self._messages = 0
        self.in_use = 0
        """Submissions that wait for their response now."""

    @property
    def up(self) -> bool:
        """Whether a session is bound and the SMSC has not asked us to slow down."""
        return self._bound is not None and self._not_throttled.is_set()

    @property
    def busy_for(self) -> float:
        """Seconds after which it may be worth while to come again."""
        return max(self._messages / (self.settings.rate or 1e9), self.settings.throttle_pause)

    def open(self) -> None:
        """Start to connect, in the background and until it is closed."""
        self._keeper = asyncio.create_task(self._keep_up(), name=f"smsc-link {self.name}")

    async def close(self) -> None:
        """End the session; idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def submit(self, push: Push) -> Submitted:
        """The verdict on a push; within ``turn_time`` plus ``response_time`` seconds, and not sent
        once it is useless.

        Of a push of several messages one goes after the other, so that the SMSC has them in order;
        it is accepted when all are, and the first that is not ends it. Never raises for what the
        SMSC or the network does.
        """
        count = len(push.parts)
        if not self._has_room_for(count):
            return Submitted(Verdict.BUSY, detail="too many wait for the SMSC")
        if (admission := self._breakers.ask(self.name)) is None:
            return Submitted(Verdict.UNAVAILABLE)
        self._pushes += 1
        self._messages += count
        try:
            with self._breakers.watched(admission):
                submitted = await self._submit_parts(push)
        finally:
            self._pushes -= 1
            self._messages -= count
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

    @property
    def _bound(self) -> Session | None:
        session = self._session
        return None if session is None or session.lost.done() else session

    def _is_down(self) -> bool:
        return self._breakers.of(self.name).state is not BreakerState.CLOSED

    def _has_room_for(self, count: int) -> bool:
        """So that whatever waits gets its turn: one SMSC's queue takes no room of the others'."""
        rate, within = self.settings.rate, self.settings.turn_time
        slow = rate is not None and self._messages > 0 and self._messages + count > rate * within
        return self._pushes < self.at_once and not slow

    async def _submit_parts(self, push: Push) -> Submitted:
        turn_ends = asyncio.get_running_loop().time() + self.settings.turn_time
        until = min(turn_ends, push.useless_at)
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
        if self._bound is None:
            return Submitted(Verdict.UNAVAILABLE, detail=_NO_LINK)
        try:
            async with asyncio.timeout_at(until):
                await self._window.acquire()
        except TimeoutError:
            return _no_turn(push, "no room in the window for too long")
        try:
            async with asyncio.timeout_at(until):
                await self._not_throttled.wait()
                wait = self._pace.take(asyncio.get_running_loop().time(), until)
                if wait is None:
                    return _no_turn(push, "the rate was used up for too long")
                if wait:
                    await asyncio.sleep(wait)
        except TimeoutError:
            return _no_turn(push, "the SMSC throttles us for too long")
        else:
            return await self._exchange(push, user_data)
        finally:
            self._window.release()

    async def _exchange(self, push: Push, user_data: bytes) -> Submitted:
        if (session := self._bound) is None:
            return Submitted(Verdict.UNAVAILABLE, detail=_NO_LINK)
        self.in_use += 1
        try:
            submitted = await session.submit(push, user_data)
        finally:
            self.in_use -= 1
        if submitted.verdict is Verdict.THROTTLED:
            self._hold_back()
        return submitted

    def _hold_back(self) -> None:
        if self._not_throttled.is_set():
            pause = self.settings.throttle_pause
            log.info("smsc_throttled", smsc=self.name, pause=pause)
            self._not_throttled.clear()
            asyncio.get_running_loop().call_later(pause, self._not_throttled.set)

    async def _keep_up(self) -> None:
        settings = self.settings
        patience = RetryPolicy(first=settings.reconnect_first, most=settings.reconnect_most)
        while True:
            session = await retry(
                self._bind, policy=patience, on=ProviderUnavailable, failed=self._log_failure
            )
            self._session = session
            self._breakers.reachable(self.name)
            self.known.set()
            log.info("smsc_link_up", smsc=self.name)
            try:
                await session.listen(self._hear)
            finally:
                session.lose()
                self._session = None
                await session.end()
            log.warning("smsc_link_lost", smsc=self.name)
            # So that an SMSC that binds and hangs up at once is not called without pause.
            await asyncio.sleep(settings.reconnect_first)

    async def _bind(self) -> Session:
        return await Session.bind(self.name, self.settings)

    async def _hear(self, receipt: SmscReceipt) -> None:
        await self._inbox.put(self.name, receipt)

    def _log_failure(self, attempt: FailedAttempt) -> None:
        self._breakers.unreachable(self.name, _NO_LINK)
        if self._is_down():
            self.known.set()
        log.warning(
            "smsc_unreachable",
            smsc=self.name,
            attempt=attempt.number,
            error=str(attempt.error),
            again_in=round(attempt.pause, 3),
        )


def _no_turn(push: Push, why: str) -> Submitted:
    """It never left us: there was no turn for it, or none before it was useless."""
    expired = asyncio.get_running_loop().time() >= push.useless_at
    return Submitted(Verdict.NOT_SENT, detail="expired before its turn came" if expired else why)
