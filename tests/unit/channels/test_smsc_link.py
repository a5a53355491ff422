"""The link to an SMSC, over real SMPP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.channels.base.breakers import Breakers
from aoi_events.channels.sms.inbox import Inbox
from aoi_events.channels.sms.link import SmscLink
from aoi_events.channels.sms.numbers import Address, destination, normalised, source
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.receipts import (
    MESSAGE_STATE,
    MessageState,
    SmscReceipt,
    read_receipt,
)
from aoi_events.channels.sms.settings import SmscSettings, SmsSettings
from aoi_events.channels.sms.status import Submitted, Verdict, verdict_of
from aoi_events.client.core.inputs import ShortMessage as Arrived
from aoi_events.errors import MalformedPdu
from aoi_events.testing.smsc import LoopbackSmsc, Reply
from tests.limits import WITHIN

NUMBER = "+31600000001"
USER_DATA = bytes.fromhex("0605040b8423f0070601da") + b"hello"


def message(number: str = NUMBER, valid_for: float = 60.0) -> Push:
    """A binary message that the loopback SMSC can take."""
    to = destination(number)
    assert to is not None
    return Push(to, (USER_DATA,), asyncio.get_running_loop().time() + valid_for)


@pytest.fixture
async def smsc() -> AsyncIterator[LoopbackSmsc]:
    """An SMSC on loopback."""
    async with LoopbackSmsc() as smsc:
        yield smsc


class Linked:
    """A link, and what it hears."""

    def __init__(self, settings: SmscSettings) -> None:
        self._inbox = Inbox()
        self._link = SmscLink("smsc", settings, Breakers("sms"), self._inbox)

    @property
    def up(self) -> bool:
        """Whether it can be used."""
        return self._link.up

    async def ready(self) -> None:
        """Return once it can be used."""
        while not self.up:  # noqa: ASYNC110 - the link has no event for it
            await asyncio.sleep(0)

    async def submit(self, pushes: list[Push]) -> list[Submitted]:
        """The verdicts, in order."""
        await self._link.known.wait()
        return list(await asyncio.gather(*map(self._link.submit, pushes)))

    async def receipts(self) -> AsyncIterator[list[SmscReceipt]]:
        """What it hears."""
        async for batch in self._inbox.batches():
            yield [receipt for _, receipt in batch]

    def open(self) -> None:
        """Connect."""
        self._link.open()

    async def close(self) -> None:
        """End it, and what is heard."""
        await self._link.close()
        self._inbox.close()


@asynccontextmanager
async def link_to(smsc: LoopbackSmsc, **settings: Any) -> AsyncIterator[Linked]:
    """A link that is open while the block runs."""
    quick = {"response_time": 5.0, "turn_time": 5.0, "connect_time": 2.0, "reconnect_first": 0.01}
    link = Linked(SmscSettings(host=smsc.host, port=smsc.port, **(quick | settings)))
    link.open()
    try:
        yield link
    finally:
        await link.close()


async def next_receipts(link: Linked, count: int) -> list[SmscReceipt]:
    """The next receipts, however they are batched."""
    heard: list[SmscReceipt] = []
    async with asyncio.timeout(WITHIN):
        async for batch in link.receipts():
            heard.extend(batch)
            if len(heard) >= count:
                break
    return heard


async def test_a_message_arrives_as_it_was_sent(smsc: LoopbackSmsc) -> None:
    """The SMSC gets number, sender and every octet of the user data, and names the message."""
    async with link_to(smsc) as link:
        [submitted] = await link.submit([message()])
        received = await smsc.receive(NUMBER)
    assert submitted.verdict is Verdict.ACCEPTED
    assert submitted.message_ids == (received.message_id,)
    assert (received.user_data, received.sender) == (USER_DATA, "AOI")


async def test_a_telephone_hands_on_every_message_in_order(smsc: LoopbackSmsc) -> None:
    """A fake device reads its short messages, also those that came before it listened."""
    async with link_to(smsc, window=1) as link:
        await link.submit([message(), message("+31600000002"), message()])
        telephone = smsc.telephone(NUMBER)
        async with asyncio.timeout(WITHIN):
            heard = [await anext(telephone), await anext(telephone)]
    assert heard == [Arrived(USER_DATA, "AOI")] * 2
    assert smsc.mailbox(NUMBER).empty()
    assert smsc.mailbox("+31600000002").qsize() == 1


async def test_verdicts_stand_in_the_order_of_the_messages(smsc: LoopbackSmsc) -> None:
    """A batch gives one verdict per message, in order, through a window of one."""
    smsc.script(Reply(), Reply.bad_number(), Reply(status=0x66), Reply(status=0x08), Reply(0x45))
    async with link_to(smsc, window=1) as link:
        verdicts = [each.verdict for each in await link.submit([message()] * 5)]
    assert verdicts == [
        Verdict.ACCEPTED,
        Verdict.BAD_ADDRESS,
        Verdict.REJECTED,
        Verdict.REFUSED,
        Verdict.REFUSED,
    ]


async def test_no_more_than_a_window_is_open_at_once(smsc: LoopbackSmsc) -> None:
    """While no response comes, exactly `window` submissions reach the SMSC."""
    smsc.default = Reply.silence()
    async with link_to(smsc, window=3, response_time=0.3, turn_time=0.05) as link:
        await smsc.bound()
        submitted = await link.submit([message()] * 10)
    verdicts = [each.verdict for each in submitted]
    assert len(smsc.submissions) == 3
    assert verdicts.count(Verdict.UNANSWERED) == 3
    assert verdicts.count(Verdict.NOT_SENT) == 7


@pytest.mark.parametrize("refusal", [Reply.throttle(), Reply.queue_full()])
async def test_a_throttled_link_pauses_and_recovers(smsc: LoopbackSmsc, refusal: Reply) -> None:
    """After a refusal for being too fast nothing goes out for the pause; then all flows again."""
    smsc.script(refusal)
    async with link_to(smsc, window=1, throttle_pause=0.2) as link:
        loop = asyncio.get_running_loop()
        [first] = await link.submit([message()])
        assert first.verdict is Verdict.THROTTLED
        assert not link.up
        started = loop.time()
        others = await link.submit([message()] * 5)
        assert loop.time() - started > 0.1
    assert [each.verdict for each in others] == [Verdict.ACCEPTED] * 5


async def test_what_expires_while_it_waits_does_not_go_out(smsc: LoopbackSmsc) -> None:
    """A push whose time ends before its turn comes is given back then, and says why."""
    smsc.script(Reply.throttle())
    async with link_to(smsc, throttle_pause=60, turn_time=300) as link:
        await link.submit([message()])
        async with asyncio.timeout(WITHIN):
            [waited, late] = await link.submit([message(valid_for=0.05), message(valid_for=-1)])
    expired = Submitted(Verdict.NOT_SENT, detail="expired before its turn came")
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
        receipts = await next_receipts(link, 2)
    assert {receipt.message_id: receipt.state for receipt in receipts} == {
        ids[0]: MessageState.DELIVERED,
        ids[1]: MessageState.UNDELIVERABLE,
    }


async def test_a_receipt_may_overtake_the_response(smsc: LoopbackSmsc) -> None:
    """A receipt that comes before the response is heard, and the response still counts."""
    smsc.script(Reply(receipt_first=True))
    async with link_to(smsc) as link:
        submitting = asyncio.create_task(link.submit([message()]))
        [receipt] = await next_receipts(link, 1)
        [submitted] = await submitting
    assert receipt == SmscReceipt(submitted.message_ids[0] or "", MessageState.DELIVERED)


async def test_a_receipt_that_comes_twice_is_heard_twice(smsc: LoopbackSmsc) -> None:
    """The link repeats what the SMSC says; whoever listens must merge."""
    smsc.script(Reply(receipts=(MessageState.DELIVERED, MessageState.DELIVERED)))
    async with link_to(smsc) as link:
        [submitted] = await link.submit([message()])
        receipts = await next_receipts(link, 2)
    assert receipts == [SmscReceipt(submitted.message_ids[0] or "", MessageState.DELIVERED)] * 2


async def test_messages_that_are_no_receipts_change_nothing(smsc: LoopbackSmsc) -> None:
    """Texts from telephones and unreadable receipts are passed over; the next receipt counts."""
    async with link_to(smsc) as link:
        await link.ready()
        await smsc.say(b"STOP")
        await smsc.say(b"\xff\x00 nonsense", esm_class=0x04)
        [submitted] = await link.submit([message()])
        receipts = await next_receipts(link, 1)
    assert [receipt.message_id for receipt in receipts] == list(submitted.message_ids)


async def test_a_message_without_response_is_unanswered_and_the_link_goes_on(
    smsc: LoopbackSmsc,
) -> None:
    """One response that never comes costs its time-out; others meanwhile keep the link up."""
    smsc.script(Reply.silence())
    async with link_to(smsc, window=2, response_time=0.3) as link:
        verdicts = [each.verdict for each in await link.submit([message()] * 3)]
        assert sorted(verdicts) == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.UNANSWERED]
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
    assert open_one.verdict is Verdict.UNANSWERED
    assert next_one.verdict is Verdict.ACCEPTED


async def test_a_line_cut_without_a_word_is_found_by_the_next_message(smsc: LoopbackSmsc) -> None:
    """When nothing at all comes back in time, the link is given up and built anew."""
    async with link_to(smsc, response_time=0.2) as link:
        await link.ready()
        smsc.freeze()
        [lost] = await link.submit([message()])
        assert lost.verdict is Verdict.UNANSWERED
        assert not link.up
        smsc.thaw()
        await asyncio.wait_for(link.ready(), WITHIN)
        [next_one] = await link.submit([message()])
    assert next_one.verdict is Verdict.ACCEPTED


async def test_an_smsc_that_is_away_holds_messages_back_and_is_found_again(
    smsc: LoopbackSmsc,
) -> None:
    """Without an SMSC a message is not sent, and the answer is there as soon as that is known; once
    it is back the link is ready.
    """
    await smsc.go_down()
    async with link_to(smsc, turn_time=60) as link:
        [held] = await link.submit([message()])
        assert held.verdict is Verdict.UNAVAILABLE
        await smsc.come_back()
        await asyncio.wait_for(link.ready(), WITHIN)
        [submitted] = await link.submit([message()])
    assert submitted.verdict is Verdict.ACCEPTED


async def test_closing_ends_receipts_and_unbinds(smsc: LoopbackSmsc) -> None:
    """After close nobody waits any more, here or at the SMSC."""
    async with link_to(smsc) as link:
        await smsc.bound(1)
        listening = asyncio.create_task(next_receipts(link, 1))
    assert await asyncio.wait_for(listening, WITHIN) == []
    await smsc.bound(0)
    await link.close()
    assert await next_receipts(link, 1) == []


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
    assert submitted.verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    "status, verdict",
    [
        (0x00, Verdict.ACCEPTED),
        (0x0B, Verdict.BAD_ADDRESS),
        (0x14, Verdict.THROTTLED),
        (0x58, Verdict.THROTTLED),
        (0x08, Verdict.REFUSED),
        (0x64, Verdict.REFUSED),
        (0x65, Verdict.REJECTED),
        (0x0A, Verdict.REJECTED),
        (0x440, Verdict.REFUSED),
    ],
)
def test_every_status_has_a_verdict(status: int, verdict: Verdict) -> None:
    """Passing, permanent and too-fast statuses are told apart; a vendor's own count as passing."""
    assert verdict_of(status, "1" if status == 0 else None).verdict is verdict


@given(st.integers(0, 2**32 - 1))
def test_any_status_has_a_verdict(status: int) -> None:
    """No number that an SMSC may invent is an error of ours."""
    assert verdict_of(status, None).detail


@given(
    st.integers(0, 255),
    st.binary(max_size=254),
    st.lists(
        st.tuples(st.sampled_from([0x001E, 0x0427, 0x0424, 0x1400]), st.binary(max_size=80)),
        max_size=4,
    ),
)
def test_any_deliver_sm_is_a_receipt_or_none_or_malformed(
    esm_class: int, text: bytes, tlvs: list[tuple[int, bytes]]
) -> None:
    """Reading receipts is total and bounded, whatever an SMSC sends."""
    try:
        receipt = read_receipt(esm_class, text, tlvs)
    except MalformedPdu:
        assert esm_class & 0x3C == 0x04
    else:
        assert receipt is None or 0 < len(receipt.message_id) <= 65


@pytest.mark.parametrize(
    "text", [b"id: stat:DELIVRD", b"id:sub:001 stat:DELIVRD", b"stat:DELIVRD", b""]
)
def test_a_receipt_that_names_no_message_is_malformed(text: bytes) -> None:
    """The next field is not taken for the name."""
    with pytest.raises(MalformedPdu, match="names no message"):
        read_receipt(0x04, text, [(MESSAGE_STATE, b"\x02")])


@pytest.mark.parametrize("esm_class, is_receipt", [(0x04, True), (0x44, True), (0x08, False)])
def test_a_receipt_is_told_by_its_type_bits(esm_class: int, is_receipt: bool) -> None:
    """Bits 5 to 2 decide, whatever else the octet holds; acknowledgements are no receipts."""
    text = b"id:42 sub:001 dlvrd:001 submit date:0 done date:0 stat:EXPIRED err:7"
    receipt = read_receipt(esm_class, text, [])
    assert (receipt == SmscReceipt("42", MessageState.EXPIRED, "7")) is is_receipt


@pytest.mark.parametrize(
    "offered, number",
    [
        ("+31 6 0000-0001", "+31600000001"),
        ("+1 (212) 555.0100", "+12125550100"),
        ("0031600000001", None),
        ("+31600000001\0", None),
        ("+3160000000123456", None),
        ("+31٦٠٠٠٠٠٠٠", None),
        ("+" + "1" * 5_000, None),
        ("", None),
    ],
)
def test_only_full_numbers_are_taken(offered: str, number: str | None) -> None:
    """A number needs its country; nothing but ASCII digits reaches an address field."""
    assert normalised(offered) == number
    assert destination(offered.replace(" ", "")) is None or number is not None


@pytest.mark.parametrize(
    "sender, address",
    [
        ("+31600000000", Address(1, 1, "31600000000")),
        ("1234", Address(0, 1, "1234")),
        ("AOI", Address(5, 0, "AOI")),
    ],
)
def test_the_sender_has_the_type_of_its_form(sender: str, address: Address) -> None:
    """International numbers, short codes and names are marked as what they are."""
    assert source(sender) == address


def test_the_password_is_never_shown() -> None:
    """Settings can be printed and logged."""
    settings = SmsSettings.model_validate({"host": "smsc.example", "password": "s3cret"})
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings.providers)
