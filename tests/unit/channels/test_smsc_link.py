"""The link to an SMSC, over real SMPP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aoi_events.channels.base.breakers import Breakers
from aoi_events.channels.sms.connection import SmppConnection
from aoi_events.channels.sms.link import SmscLink
from aoi_events.channels.sms.message_states import MessageState
from aoi_events.channels.sms.numbers import destination
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.receipt_queue import ReceiptQueue
from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import SubmitStatus, Submitted
from aoi_events.client.core.inputs import ShortMessage as Arrived
from aoi_events.errors import ConfigurationError
from aoi_events.testing.smsc import LoopbackSmsc, Reply
from tests.support.limits import WITHIN

NUMBER = "+31600000001"
USER_DATA = bytes.fromhex("0605040b8423f0070601da") + b"hello"


def message(number: str = NUMBER, valid_for: float = 60.0) -> Push:
    """A binary message that the loopback SMSC can take."""
    to = destination(number)
    assert to is not None
    valid_until = datetime.now(UTC) + timedelta(seconds=valid_for)
    return Push(to, (USER_DATA,), asyncio.get_running_loop().time() + valid_for, valid_until)


@pytest.fixture
async def smsc() -> AsyncIterator[LoopbackSmsc]:
    """An SMSC on loopback."""
    async with LoopbackSmsc() as smsc:
        yield smsc


class Linked:
    """A link, and the receipts that it passes on, each of which is acknowledged at once."""

    def __init__(self, settings: SmscSettings, breakers: Breakers) -> None:
        self._receipts = ReceiptQueue()
        self._heard: asyncio.Queue[tuple[str, MessageState] | None] = asyncio.Queue()
        self._link = SmscLink("smsc", settings, breakers, self._receipts)

    @property
    def up(self) -> bool:
        """Whether it can be used."""
        return self._link.up

    async def ready(self) -> None:
        """Return once it can be used."""
        while not self.up:  # noqa: ASYNC110 - the link has no event for it
            await asyncio.sleep(0)

    async def submit(self, pushes: list[Push]) -> list[Submitted]:
        """The statuses, in order."""
        await self._link.known.wait()
        return list(await asyncio.gather(*map(self._link.submit, pushes)))

    async def receipts(self, count: int) -> list[tuple[str, MessageState]]:
        """The next receipts: message ID and state; fewer when the link is closed."""
        heard: list[tuple[str, MessageState]] = []
        async with asyncio.timeout(WITHIN):
            while len(heard) < count and (receipt := await self._heard.get()) is not None:
                heard.append(receipt)
        return heard

    def open(self) -> None:
        """Connect, and listen."""
        self._link.open()
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """End the link, and the receipts."""
        await self._link.close()
        self._receipts.close()
        await self._listening

    async def _listen(self) -> None:
        async for batch in self._receipts.batches():
            for each in batch:
                self._heard.put_nowait((each.receipt.message_id, each.receipt.state))
                each.acknowledge()
        self._heard.put_nowait(None)


@asynccontextmanager
async def link_to(
    smsc: LoopbackSmsc, *, breakers: Breakers | None = None, **settings: Any
) -> AsyncIterator[Linked]:
    """A link that is open while the block runs."""
    quick = {"response_time": 5.0, "turn_time": 5.0, "connect_time": 2.0, "reconnect_first": 0.01}
    smsc_settings = SmscSettings(host=smsc.host, port=smsc.port, **(quick | settings))
    link = Linked(smsc_settings, breakers or Breakers("sms"))
    link.open()
    try:
        yield link
    finally:
        await link.close()


async def test_a_message_arrives_as_it_was_sent(smsc: LoopbackSmsc) -> None:
    """The SMSC gets number, sender and every octet of the user data, and names the message."""
    async with link_to(smsc) as link:
        [submitted] = await link.submit([message()])
        received = await smsc.receive(NUMBER)
    assert submitted.status is SubmitStatus.ACCEPTED
    assert submitted.message_ids == (received.message_id,)
    assert (received.user_data, received.sender) == (USER_DATA, "AOI")


async def test_a_telephone_hands_on_every_message_in_order(smsc: LoopbackSmsc) -> None:
    """A fake device reads its short messages, also those that came before it listened."""
    async with link_to(smsc, window=1) as link:
        await link.submit([message(), message("+31600000002"), message()])
        telephone = smsc.telephone(NUMBER)
        async with asyncio.timeout(WITHIN):
            received = [await anext(telephone), await anext(telephone)]
    assert received == [Arrived(USER_DATA, "AOI")] * 2
    assert smsc.mailbox(NUMBER).empty()
    assert smsc.mailbox("+31600000002").qsize() == 1


async def test_verdicts_stand_in_the_order_of_the_messages(smsc: LoopbackSmsc) -> None:
    """A batch gives one status per message, in order, through a window of one."""
    smsc.script(Reply(), Reply.bad_number(), Reply(status=0x66), Reply(status=0x08), Reply(0x45))
    async with link_to(smsc, window=1) as link:
        statuses = [each.status for each in await link.submit([message()] * 5)]
    assert statuses == [
        SubmitStatus.ACCEPTED,
        SubmitStatus.BAD_ADDRESS,
        SubmitStatus.REJECTED,
        SubmitStatus.REFUSED,
        SubmitStatus.REFUSED,
    ]


async def test_an_smsc_that_takes_no_number_costs_no_device_its_channel(
    smsc: LoopbackSmsc, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator is warned of the settings that say what a number is. Of numbers that never got
    a challenge, the first three are taken for bad ones.
    """
    smsc.default = Reply.bad_number()
    async with link_to(smsc, window=1, destination_ton=2) as link:
        pushes = [message(f"+3160000000{number}") for number in range(5)]
        statuses = [each.status for each in await link.submit(pushes)]
        offered = [replace(push, proved=False) for push in pushes]
        challenges = [each.status for each in await link.submit(offered)]
    assert statuses == [SubmitStatus.MISCONFIGURED] * 5
    assert challenges == [SubmitStatus.BAD_ADDRESS] * 3 + [SubmitStatus.MISCONFIGURED] * 2
    [warning] = [vars(record) for record in caplog.records if "smsc_refuses" in record.getMessage()]
    assert warning["why"].endswith("(check destination_ton, destination_npi)")


async def test_no_more_than_a_window_is_open_at_once(smsc: LoopbackSmsc) -> None:
    """While no response comes, exactly `window` submissions reach the SMSC."""
    smsc.default = Reply.silence()
    async with link_to(smsc, window=3, response_time=0.3, turn_time=0.05) as link:
        await smsc.bound()
        submitted = await link.submit([message()] * 10)
    statuses = [each.status for each in submitted]
    assert len(smsc.submissions) == 3
    assert statuses.count(SubmitStatus.UNANSWERED) == 3
    assert statuses.count(SubmitStatus.NOT_SENT) == 7


@pytest.mark.parametrize("refusal", [Reply.throttle(), Reply.queue_full()])
async def test_a_throttled_link_pauses_and_recovers(smsc: LoopbackSmsc, refusal: Reply) -> None:
    """After a refusal for being too fast nothing goes out for the pause; then all flows again."""
    smsc.script(refusal)
    async with link_to(smsc, window=1, throttle_pause=0.2) as link:
        loop = asyncio.get_running_loop()
        [first] = await link.submit([message()])
        assert first.status is SubmitStatus.THROTTLED
        assert not link.up
        started = loop.time()
        others = await link.submit([message()] * 5)
        assert loop.time() - started > 0.1
    assert [each.status for each in others] == [SubmitStatus.ACCEPTED] * 5


async def test_what_expires_while_it_waits_does_not_go_out(smsc: LoopbackSmsc) -> None:
    """A push that expires while it waits is returned at that time, with the reason."""
    smsc.script(Reply.throttle())
    async with link_to(smsc, throttle_pause=60, turn_time=300) as link:
        await link.submit([message()])
        async with asyncio.timeout(WITHIN):
            [waited, late] = await link.submit([message(valid_for=0.05), message(valid_for=-1)])
    expired = Submitted(SubmitStatus.NOT_SENT, detail="expired while it waited to be sent")
    assert (waited, late) == (expired, expired)
    assert len(smsc.submissions) == 1


async def test_a_receipt_tells_what_became_of_a_message(smsc: LoopbackSmsc) -> None:
    """Receipts name the message that the SMSC accepted, in both forms that are in use."""
    smsc.script(
        Reply(receipts=(MessageState.DELIVERED,)),
        Reply(receipts=(MessageState.UNDELIVERABLE,), form="text"),
    )
    async with link_to(smsc, window=1) as link:
        ids = [each.message_ids[0] for each in await link.submit([message()] * 2)]
        receipts = await link.receipts(2)
    assert receipts == [
        (ids[0], MessageState.DELIVERED),
        (ids[1], MessageState.UNDELIVERABLE),
    ]


async def test_a_receipt_may_overtake_the_response(smsc: LoopbackSmsc) -> None:
    """A receipt that comes before the response is passed on, and the response still counts."""
    smsc.script(Reply(receipt_first=True))
    async with link_to(smsc) as link:
        submitting = asyncio.create_task(link.submit([message()]))
        [receipt] = await link.receipts(1)
        [submitted] = await submitting
    assert receipt == (submitted.message_ids[0], MessageState.DELIVERED)


async def test_a_receipt_that_comes_twice_is_passed_on_twice(smsc: LoopbackSmsc) -> None:
    """The link passes on every receipt of the SMSC; its reader must merge them."""
    smsc.script(Reply(receipts=(MessageState.DELIVERED, MessageState.DELIVERED)))
    async with link_to(smsc) as link:
        [submitted] = await link.submit([message()])
        receipts = await link.receipts(2)
    assert receipts == [(submitted.message_ids[0], MessageState.DELIVERED)] * 2


async def test_messages_that_are_no_receipts_change_nothing(smsc: LoopbackSmsc) -> None:
    """Texts from telephones and unreadable receipts are passed over; the next receipt counts."""
    async with link_to(smsc) as link:
        await link.ready()
        await smsc.say(b"STOP")
        await smsc.say(b"\xff\x00 nonsense", esm_class=0x04)
        [submitted] = await link.submit([message()])
        receipts = await link.receipts(1)
    assert receipts == [(submitted.message_ids[0], MessageState.DELIVERED)]


async def test_a_message_without_response_is_unanswered_and_the_link_goes_on(
    smsc: LoopbackSmsc,
) -> None:
    """One response that never comes costs its time-out; others meanwhile keep the link up."""
    smsc.script(Reply.silence())
    async with link_to(smsc, window=2, response_time=0.3) as link:
        statuses = [each.status for each in await link.submit([message()] * 3)]
        assert sorted(statuses) == [
            SubmitStatus.ACCEPTED,
            SubmitStatus.ACCEPTED,
            SubmitStatus.UNANSWERED,
        ]
        assert link.up


@pytest.mark.parametrize("how", [LoopbackSmsc.cut, lambda smsc: smsc.babble(b"\xff" * 64)])
async def test_a_lost_link_answers_at_once_and_comes_back(
    smsc: LoopbackSmsc, how: Callable[[LoopbackSmsc], None]
) -> None:
    """A reset or nonsense ends the session: what was open is unanswered, the next is accepted."""
    smsc.script(Reply.silence())
    async with link_to(smsc, response_time=20) as link:
        submitting = asyncio.create_task(link.submit([message()]))
        await smsc.submitted(1)
        how(smsc)
        [open_one] = await asyncio.wait_for(submitting, WITHIN)
        await asyncio.wait_for(link.ready(), WITHIN)
        [next_one] = await asyncio.wait_for(link.submit([message()]), WITHIN)
    assert open_one.status is SubmitStatus.UNANSWERED
    assert next_one.status is SubmitStatus.ACCEPTED


async def test_a_line_cut_without_a_word_is_found_by_the_next_message(smsc: LoopbackSmsc) -> None:
    """A link on which nothing comes back in time is closed and connected again."""
    async with link_to(smsc, response_time=0.2) as link:
        await link.ready()
        smsc.freeze()
        [lost] = await link.submit([message()])
        assert lost.status is SubmitStatus.UNANSWERED
        assert not link.up
        smsc.thaw()
        await asyncio.wait_for(link.ready(), WITHIN)
        [next_one] = await link.submit([message()])
    assert next_one.status is SubmitStatus.ACCEPTED


async def test_an_smsc_that_is_away_holds_messages_back_and_is_found_again(
    smsc: LoopbackSmsc,
) -> None:
    """Without an SMSC a message is not sent, and the answer is there as soon as that is known; once
    it is back the link is ready.
    """
    await smsc.go_down()
    async with link_to(smsc, turn_time=60) as link:
        [held] = await link.submit([message()])
        assert held.status is SubmitStatus.UNAVAILABLE
        await smsc.come_back()
        await asyncio.wait_for(link.ready(), WITHIN)
        [submitted] = await link.submit([message()])
    assert submitted.status is SubmitStatus.ACCEPTED


async def test_a_fault_of_ours_does_not_end_the_link(
    smsc: LoopbackSmsc, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the link is set up again."""

    class Faulty(Breakers):
        """Breakers that fail once."""

        failed = False

        def reachable(self, name: str) -> None:
            """Fail the first time."""
            if not self.failed:
                self.failed = True
                raise RuntimeError("a fault of ours")
            super().reachable(name)

    async with link_to(smsc, breakers=Faulty("sms"), reconnect_most=0.01) as link:
        async with asyncio.timeout(WITHIN):
            await link.ready()
        [submitted] = await link.submit([message()])
    assert submitted.status is SubmitStatus.ACCEPTED
    assert "smsc_link_failed" in [record.getMessage() for record in caplog.records]


async def test_a_fault_of_ours_does_not_keep_a_closed_link_open(
    smsc: LoopbackSmsc, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while the session ends is logged, and the link is closed all the same."""
    close = SmppConnection.close

    async def faulty(connection: SmppConnection, *args: Any, **times: Any) -> None:
        await close(connection, *args, **times)
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(SmppConnection, "close", faulty)
    async with asyncio.timeout(WITHIN), link_to(smsc, reconnect_most=0.01) as link:
        await link.ready()
    await smsc.bound(0)
    assert "smsc_link_failed" in [record.getMessage() for record in caplog.records]


async def test_closing_ends_receipts_and_unbinds(smsc: LoopbackSmsc) -> None:
    """After close no reader waits for receipts, and the SMSC has no session."""
    async with link_to(smsc) as link:
        await smsc.bound(1)
        listening = asyncio.create_task(link.receipts(1))
    assert await asyncio.wait_for(listening, WITHIN) == []
    await smsc.bound(0)
    await link.close()


async def test_a_cancelled_submission_leaves_the_link_usable(smsc: LoopbackSmsc) -> None:
    """Whoever stops waiting frees the room in the window that the message took."""
    smsc.script(Reply.silence())
    async with link_to(smsc, window=1) as link:
        submitting = asyncio.create_task(link.submit([message()]))
        await smsc.submitted(1)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        [submitted] = await link.submit([message()])
    assert submitted.status is SubmitStatus.ACCEPTED


def test_a_ca_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The setting, the SMSC, the file, and why."""
    settings = SmscSettings(host="smsc.example", tls=True, ca_file=tmp_path / "none.pem")
    words = "AOI_CHANNELS__SMS: ca_file of the SMSC eu: cannot read .*none.pem: No such file"
    with pytest.raises(ConfigurationError, match=words):
        SmscLink("eu", settings, Breakers("sms"), ReceiptQueue())
