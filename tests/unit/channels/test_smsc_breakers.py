"""The breaker of each SMSC: opened by silence, probed, and closed by an answer of any kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from aoi_events.channels.base.breakers import Breakers
from aoi_events.channels.sms.link import SmscLink
from aoi_events.channels.sms.receipt_queue import ReceiptQueue
from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import SubmitStatus
from aoi_events.domain.providers.breaker import BreakerPolicy, BreakerState
from aoi_events.domain.retry import Backoff
from aoi_events.testing.smsc import LoopbackSmsc, Reply
from aoi_events.testing.stopped_clock import FixedDice, ManualClock
from tests.support.limits import WITHIN
from tests.support.raw_smsc import RESPONSE, SUBMIT_SM, TRANSCEIVER, UNBIND, Frame, RawSmsc, pdu
from tests.unit.channels.test_smsc_link import message

FAILURES = 2
POLICY = BreakerPolicy(failures=FAILURES, wait=Backoff(first=4.0, ceiling=10.0))


def _settings(smsc: LoopbackSmsc | RawSmsc, response_time: float) -> SmscSettings:
    return SmscSettings(
        host=smsc.host,
        port=smsc.port,
        reconnect_first=0.01,
        response_time=response_time,
        turn_time=5.0,
        throttle_pause=60.0,
    )


class Two:
    """Links to two SMSCs, whose breakers go by a clock of the test's."""

    def __init__(self, north: LoopbackSmsc, south: LoopbackSmsc, northern_time: float) -> None:
        self.north = north
        self.clock = ManualClock()
        self.breakers = Breakers("sms", policy=POLICY, clock=self.clock, dice=FixedDice(1.0))
        self._links = {
            name: SmscLink(
                name,
                _settings(smsc, within),
                self.breakers,
                ReceiptQueue(),
            )
            for name, smsc, within in (
                ("north", north, northern_time),
                ("south", south, 5.0),
            )
        }

    async def open(self) -> None:
        """Return once both are bound."""
        for link in self._links.values():
            link.open()
            await link.known.wait()

    async def close(self) -> None:
        """End both."""
        for link in self._links.values():
            await link.close()

    async def status(self, smsc: str = "north", *, valid_for: float = 60.0) -> SubmitStatus:
        """What becomes of a message, whether or not the link is up."""
        return (await self._links[smsc].submit(message(valid_for=valid_for))).status

    async def statuses(self, times: int, smsc: str = "north") -> list[SubmitStatus]:
        """What becomes of so many messages, each once the link is up: silence ends a session."""
        found: list[SubmitStatus] = []
        for _ in range(times):
            async with asyncio.timeout(WITHIN):
                while not self._links[smsc].up:  # noqa: ASYNC110 - the link has no event for it
                    await asyncio.sleep(0)
            found.append(await self.status(smsc))
        return found

    def fail(self, times: int) -> None:
        """So many failures of the northern SMSC in a row."""
        for _ in range(times):
            self.breakers.unreachable("north", "no link")

    @property
    def waits(self) -> float:
        """Seconds until the northern SMSC may be probed."""
        until = self.breakers.of("north").until
        assert until is not None
        return (until - self.clock.now()).total_seconds()


@asynccontextmanager
async def _open(northern_time: float) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        north = await stack.enter_async_context(LoopbackSmsc())
        south = await stack.enter_async_context(LoopbackSmsc())
        two = Two(north, south, northern_time)
        stack.push_async_callback(two.close)
        await two.open()
        yield two


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    """Both links, to SMSCs that answer and may take their time."""
    async with _open(5.0) as two:
        yield two


@pytest.fixture
async def silent() -> AsyncIterator[Two]:
    """Both links, of which the northern SMSC never answers."""
    async with _open(0.05) as two:
        two.north.default = Reply.silence()
        yield two


@pytest.mark.parametrize(
    "reply, status",
    [
        (Reply(), SubmitStatus.ACCEPTED),
        (Reply.bad_number(), SubmitStatus.MISCONFIGURED),
        (Reply(status=0x45), SubmitStatus.REFUSED),
    ],
)
async def test_an_answer_to_a_probe_closes_it(two: Two, reply: Reply, status: SubmitStatus) -> None:
    """After failures in a row nothing goes out; in its time one message does, and any answer, also
    one that refuses the message, closes the breaker; failures count from zero.
    """
    two.fail(FAILURES)
    assert await two.status() is SubmitStatus.UNAVAILABLE
    two.clock.advance(4)
    two.north.default = reply
    assert await two.statuses(3) == [status] * 3
    assert two.breakers.in_trouble == {}
    two.fail(FAILURES - 1)
    assert two.breakers.in_trouble == {}
    two.fail(1)
    assert two.breakers.in_trouble.keys() == {"north"}


async def test_an_answer_in_between_counts_from_zero(two: Two) -> None:
    """An SMSC that answers now and then is slow, not down."""
    for _ in range(3):
        two.fail(FAILURES - 1)
        assert await two.statuses(1) == [SubmitStatus.ACCEPTED]
    assert two.breakers.in_trouble == {}


def _bound_and_unbound(frame: Frame) -> bytes:
    bound = pdu(frame.command | RESPONSE, 0, frame.sequence, b"RAW\0")
    return bound + pdu(UNBIND, 0, 99)


@pytest.mark.parametrize(
    "command, answer",
    [
        (TRANSCEIVER, _bound_and_unbound),
        (SUBMIT_SM, lambda frame: pdu(SUBMIT_SM | RESPONSE, 0x04, frame.sequence)),
    ],
    ids=["unbinds at once", "knows no session"],
)
async def test_an_smsc_whose_sessions_are_of_no_use_is_down(
    command: int, answer: Callable[[Frame], bytes]
) -> None:
    """It binds us each time and answers no message: after some such sessions messages go to other
    SMSCs and channels; the first session that answers one ends that.
    """
    breakers = Breakers("sms", policy=POLICY)
    async with RawSmsc() as smsc:
        smsc.answers[command] = answer
        link = SmscLink("eu", _settings(smsc, 5.0), breakers, ReceiptQueue())
        link.open()
        try:
            async with asyncio.timeout(WITHIN):
                while "eu" not in breakers.in_trouble:
                    await link.submit(message())
                    await asyncio.sleep(0)
                assert breakers.of("eu").why.startswith("link lost: the SMSC ")
                del smsc.answers[command]
                while "eu" in breakers.in_trouble:
                    await link.submit(message())
                    await asyncio.sleep(0)
        finally:
            await link.close()


async def test_a_session_that_lasted_without_a_message_counts_from_zero() -> None:
    """Short sessions hours apart, in a night without messages, are none in a row."""
    breakers = Breakers("sms", policy=POLICY)
    async with RawSmsc() as smsc:
        shortest = {"reconnect_first": 1e-9, "reconnect_most": 1e-9}
        settings = _settings(smsc, 5.0).model_copy(update=shortest)
        link = SmscLink("eu", settings, breakers, ReceiptQueue())
        link.open()
        try:
            async with asyncio.timeout(WITHIN):
                await link.known.wait()
            for session in range(2, 2 + FAILURES):
                breakers.unreachable("eu", "a short session, without a message")
                smsc.ask(UNBIND)
                await smsc.came(TRANSCEIVER, session)
        finally:
            await link.close()
    assert breakers.in_trouble == {}


async def test_what_was_never_sent_says_nothing(two: Two) -> None:
    """A probe that had no turn, because the SMSC throttles, neither closes nor opens the breaker;
    the next message is the probe.
    """
    two.north.script(Reply.throttle())
    assert await two.statuses(1) == [SubmitStatus.THROTTLED]
    two.fail(FAILURES)
    two.clock.advance(4)
    for _ in range(2):
        assert await two.status(valid_for=0.05) is SubmitStatus.NOT_SENT
        assert two.breakers.of("north").state is BreakerState.HALF_OPEN


async def test_a_probe_without_an_answer_opens_it_for_longer(silent: Two) -> None:
    """Silence is a failure. Of a probe one is enough, and the time until the next one grows up to
    its limit.
    """
    assert await silent.statuses(FAILURES) == [SubmitStatus.UNANSWERED] * FAILURES
    assert silent.waits == 4
    for seconds in (8, 10, 10):
        assert await silent.statuses(1) == [SubmitStatus.UNANSWERED]
        assert silent.breakers.of("north").state is BreakerState.OPEN
        assert silent.waits == seconds


async def test_each_smsc_has_its_own(silent: Two) -> None:
    """One SMSC is silent: the other one takes messages, and does not close the first's breaker."""
    assert await silent.statuses(FAILURES) == [SubmitStatus.UNANSWERED] * FAILURES
    assert await silent.statuses(2, "south") == [SubmitStatus.ACCEPTED] * 2
    assert silent.breakers.in_trouble.keys() == {"north"}
