"""A session with an SMSC of plain sockets: binds, link checks, messages, broken rules."""

from __future__ import annotations

import asyncio
import gc
import re
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aoi_events.channels.base.trust import trusting
from aoi_events.channels.sms.connection import Answer
from aoi_events.channels.sms.numbers import destination
from aoi_events.channels.sms.pdu import MOST_OCTETS, Pdu
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.session import SmppSession
from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import SubmitStatus
from aoi_events.channels.sms.validity import validity_period
from aoi_events.errors import ConfigurationError, ProviderUnavailable
from tests.support.certificates import self_signed
from tests.support.limits import WITHIN
from tests.support.raw_smsc import (
    DATA_SM,
    DELIVER_SM,
    ENQUIRE_LINK,
    HEADER,
    NACK,
    RECEIVER,
    RESPONSE,
    SUBMIT_SM,
    TRANSCEIVER,
    TRANSMITTER,
    UNBIND,
    Frame,
    RawSmsc,
    pdu,
    report_body,
)


class Bound:
    """A session, and the messages that it passes on."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[Pdu, Answer]] = asyncio.Queue()
        self.faults: list[Exception] = []
        self.session: SmppSession
        self.until = datetime.now(timezone(timedelta(hours=2))) + timedelta(hours=1)

    def take(self, message: Pdu, answer: Answer) -> None:
        """Note a message, or fail."""
        if self.faults:
            raise self.faults.pop()
        self.messages.put_nowait((message, answer))

    async def submit(self, user_data: bytes = b"hello", valid_for: float = 60.0) -> SubmitStatus:
        """What becomes of a message."""
        to = destination("+31600000001")
        assert to is not None
        expires_at = asyncio.get_running_loop().time() + valid_for
        push = Push(to, (user_data,), expires_at, self.until)
        async with asyncio.timeout(WITHIN):
            return (await self.session.submit(push, user_data)).status

    async def why(self) -> str:
        """Why the session ended."""
        async with asyncio.timeout(WITHIN):
            return await self.session.ended()


@pytest.fixture
async def smsc() -> AsyncIterator[RawSmsc]:
    """An SMSC."""
    async with RawSmsc() as smsc:
        yield smsc


@asynccontextmanager
async def bound_to(
    smsc: RawSmsc, tls: ssl.SSLContext | None = None, **changes: Any
) -> AsyncIterator[Bound]:
    """A session while the block runs; times are long unless a test is about them."""
    times = {"connect_time": 60.0, "response_time": 25.0, "enquire_link": 3_600.0}
    settings = SmscSettings(host=smsc.host, port=smsc.port, **{**times, **changes})
    bound = Bound()
    bound.session = await SmppSession.bind("smsc", settings, tls, bound.take)
    try:
        yield bound
    finally:
        await bound.session.close()


@pytest.mark.parametrize("command", [TRANSCEIVER | RESPONSE, NACK])
async def test_a_refused_bind_is_reported_at_once_by_its_status(
    smsc: RawSmsc, command: int
) -> None:
    """The name of the status and the setting to look at, long before any time-out."""
    smsc.answers[TRANSCEIVER] = lambda frame: pdu(command, 0x0E, frame.sequence)
    why = "the SMSC refused bind_transceiver: 0x0E RINVPASWD (check password)"
    async with asyncio.timeout(WITHIN):
        with pytest.raises(ProviderUnavailable, match=re.escape(why)):
            async with bound_to(smsc):
                pass


async def test_a_bind_without_an_answer_is_given_up(smsc: RawSmsc) -> None:
    """After its time, and the connection does not stay open."""
    smsc.answers[TRANSCEIVER] = lambda frame: None
    smsc.answers[UNBIND] = lambda frame: None
    with pytest.raises(ProviderUnavailable, match=r"no answer to the bind within 0\.05 s"):
        async with bound_to(smsc, connect_time=0.05):
            pass
    await smsc.came(UNBIND)


async def test_a_transmitter_and_a_receiver_are_one_session(smsc: RawSmsc) -> None:
    """Submissions go over the first connection; receipts come over the second; the end of one is
    the end of both.
    """
    async with bound_to(smsc, bind="transmitter_receiver") as bound:
        assert smsc.commands() == [TRANSMITTER, RECEIVER]
        assert await bound.submit() is SubmitStatus.ACCEPTED
        assert smsc.commands(0) == [TRANSMITTER, SUBMIT_SM]
        smsc.ask(DELIVER_SM, report_body(b"id:1"), connection=1)
        await bound.messages.get()
        smsc.ask(UNBIND, connection=1)
        assert await bound.why() == "the SMSC unbound us"
    assert smsc.commands(0)[-1] == UNBIND


async def test_a_lost_receiver_leaves_the_transmitter_time_for_its_responses(
    smsc: RawSmsc,
) -> None:
    """What was submitted is accepted, or it would be sent twice; nothing more is submitted, and the
    transmitter is unbound after it.
    """
    smsc.answers[SUBMIT_SM] = lambda frame: None
    async with bound_to(smsc, bind="transmitter_receiver") as bound:
        submitting = asyncio.create_task(bound.submit())
        submitted = await smsc.came(SUBMIT_SM)
        smsc.ask(UNBIND, connection=1)
        await bound.why()
        closing = asyncio.create_task(bound.session.close())
        await smsc.answered(smsc.ask(ENQUIRE_LINK, connection=0))
        assert await bound.submit() is SubmitStatus.UNANSWERED
        assert smsc.commands(0).count(UNBIND) == 0
        smsc.send(pdu(SUBMIT_SM | RESPONSE, 0, submitted.sequence, b"1\0"), connection=0)
        assert await submitting is SubmitStatus.ACCEPTED
        async with asyncio.timeout(WITHIN):
            await closing
    assert smsc.commands(0).count(SUBMIT_SM) == 1
    assert smsc.commands(0)[-1] == UNBIND


async def test_a_session_whose_closing_is_cancelled_is_closed(smsc: RawSmsc) -> None:
    """No connection stays open, although the SMSC does not answer *unbind*."""
    smsc.answers[UNBIND] = lambda frame: None
    async with bound_to(smsc, bind="transmitter_receiver") as bound:
        closing = asyncio.create_task(bound.session.close())
        await smsc.came(UNBIND, 2)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert bound.session.lost
        assert await bound.why() == "closed"
        assert not [task for task in asyncio.all_tasks() if "SmppConnection" in repr(task)]


async def test_a_refused_receiver_ends_its_transmitter(smsc: RawSmsc) -> None:
    """Half a session would lose receipts: the transmitter is unbound."""
    smsc.answers[RECEIVER] = lambda frame: pdu(RECEIVER | RESPONSE, 0x0D, frame.sequence)
    with pytest.raises(ProviderUnavailable, match="bind_receiver: 0x0D RBINDFAIL"):
        async with bound_to(smsc, bind="transmitter_receiver"):
            pass
    assert smsc.commands(0) == [TRANSMITTER, UNBIND]


async def test_a_transmitter_alone_needs_no_receiver(smsc: RawSmsc) -> None:
    """An account without receipts binds once."""
    async with bound_to(smsc, bind="transmitter") as bound:
        assert await bound.submit() is SubmitStatus.ACCEPTED
    assert smsc.commands() == [TRANSMITTER, SUBMIT_SM, UNBIND]


async def test_a_long_password_goes_out_whole(smsc: RawSmsc) -> None:
    """Where the operator allows its octets, they all arrive."""
    async with bound_to(smsc, system_id="me", password="pässwört-12", password_octets=13):
        [(_, bind)] = smsc.frames
    assert bind.body == b"me\0" + "pässwört-12".encode() + b"\0\0\x34\0\0\0"


@pytest.mark.parametrize(
    "wrong, field, said",
    [
        ({"password": "123456789"}, "password", "has 9 octets, more than 8: raise password_octets"),
        ({"password": "passwört"}, "password", "has 9 octets"),
        ({"password": "a\0b"}, "password", "contains NUL"),
        ({"ca_file": "ca.pem"}, "ca_file", "is of no use without TLS: set tls"),
        ({"bind": "receiver"}, "bind", "transmitter"),
        ({"enquire_link": 0}, "enquire_link", "greater than 0"),
        ({"validity": "forever"}, "validity", "absolute"),
        ({"source_ton": 256}, "source_ton", "less than or equal to 255"),
        ({"destination_npi": -1}, "destination_npi", "greater than or equal to 0"),
        ({"service_type": "TOOLONG"}, "service_type", "at most 5"),
        ({"registered_delivery": 32}, "registered_delivery", "less than or equal to 31"),
        ({"reconnect_first": 5, "reconnect_most": 1}, "reconnect_most", "than reconnect_first, 5"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(
    wrong: dict[str, object], field: str, said: str
) -> None:
    """What is wrong, and never the password."""
    with pytest.raises(ValidationError, match=said) as refused:
        SmscSettings.model_validate({"host": "smsc.example", **wrong})
    [fault] = refused.value.errors()
    assert fault["loc"] == (field,)
    assert repr(str(wrong.get("password", "no password")))[1:-1] not in str(refused.value)


async def test_the_settings_of_an_smsc_are_in_each_submission(smsc: RawSmsc) -> None:
    """Service type, types of number, numbering plans, receipts and validity, octet by octet."""
    changes: dict[str, Any] = {
        "source": "12345",
        "source_ton": 3,
        "source_npi": 9,
        "destination_ton": 2,
        "destination_npi": 8,
        "service_type": "WAP",
        "registered_delivery": 17,
        "validity": "absolute",
    }
    async with bound_to(smsc, **changes) as bound:
        await bound.submit(b"\x06\x05hello")
    frame = await smsc.came(SUBMIT_SM)
    assert frame.body == b"\0".join(
        (
            b"WAP",
            b"\x03\x0912345",
            b"\x02\x0831600000001",
            b"\x40",  # esm_class; then protocol, priority and time of delivery, which are empty
            b"",
            b"",
            validity_period("absolute", 60.0, bound.until).encode(),
            b"\x11",
            b"\x04",
            b"\x07\x06\x05hello",
        )
    )


@pytest.mark.parametrize("validity, period", [("relative", b"000000000059000R"), ("none", b"")])
async def test_validity_may_be_relative_or_left_out(
    smsc: RawSmsc, validity: str, period: bytes
) -> None:
    """The form that the SMSC takes."""
    async with bound_to(smsc, validity=validity) as bound:
        await bound.submit(valid_for=59.9)
    frame = await smsc.came(SUBMIT_SM)
    assert frame.body.split(b"\0\x40\0\0\0")[1].startswith(period + b"\0\x01\0\x04")


@pytest.mark.parametrize(
    "fraction, seconds, later",
    [(0.0, 60.0, 0), (0.4, 60.0, 1), (0.9, 0.5, 2), (0.0, 1.0, 0), (0.0, -0.5, 2)],
)
def test_an_absolute_validity_is_never_over(fraction: float, seconds: float, later: int) -> None:
    """The next whole second, and at least a second from now: an earlier end is refused as wrong."""
    second = datetime.now(timezone(timedelta(hours=2))).replace(microsecond=0)
    until = second + timedelta(seconds=fraction)
    ends = f"{(second + timedelta(seconds=later)).astimezone(UTC):%y%m%d%H%M%S}000+"
    assert validity_period("absolute", seconds, until) == ends


async def test_a_validity_refused_at_the_end_of_it_blames_no_setting(smsc: RawSmsc) -> None:
    """RINVEXPIRY to a message that expires in a moment is about the message only."""
    smsc.answers[SUBMIT_SM] = lambda frame: pdu(SUBMIT_SM | RESPONSE, 0x62, frame.sequence)
    async with bound_to(smsc, validity="absolute") as bound:
        assert await bound.submit(valid_for=3.0) is SubmitStatus.REFUSED
        assert await bound.submit(valid_for=60.0) is SubmitStatus.MISCONFIGURED


async def test_a_silent_link_is_asked_and_given_up(smsc: RawSmsc) -> None:
    """*enquire_link* goes out each period; the first one without an answer ends the session."""
    async with bound_to(smsc, enquire_link=0.01, response_time=0.2) as bound:
        await smsc.came(ENQUIRE_LINK, 3)
        smsc.answers[ENQUIRE_LINK] = lambda frame: None
        assert await bound.why() == "no answer to enquire_link within 0.2 s"


async def test_a_silent_receiver_is_asked_and_given_up(smsc: RawSmsc) -> None:
    """*enquire_link* goes out over both connections, and the receiver's silence ends both."""
    async with bound_to(
        smsc, bind="transmitter_receiver", enquire_link=0.01, response_time=0.2
    ) as bound:
        async with asyncio.timeout(WITHIN):
            while not all(ENQUIRE_LINK in smsc.commands(each) for each in (0, 1)):
                await smsc.came(ENQUIRE_LINK, smsc.commands().count(ENQUIRE_LINK) + 1)
        smsc.answers[ENQUIRE_LINK] = partial(_answered_by_the_transmitter, smsc)
        assert await bound.why() == "no answer to enquire_link within 0.2 s"


def _answered_by_the_transmitter(smsc: RawSmsc, frame: Frame) -> bytes | None:
    number = next(number for number, each in reversed(smsc.frames) if each is frame)
    return None if number else pdu(ENQUIRE_LINK | RESPONSE, 0, frame.sequence)


async def test_nothing_is_read_while_the_smsc_reads_no_answers(
    smsc: RawSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers do not pile up in memory: the next message is read once they have gone."""
    may_go = asyncio.Event()
    waits = asyncio.Event()

    async def drain(writer: asyncio.StreamWriter) -> None:
        waits.set()
        await may_go.wait()

    async with bound_to(smsc) as bound:
        monkeypatch.setattr(asyncio.StreamWriter, "drain", drain)
        smsc.send(b"".join(pdu(DELIVER_SM, 0, each, report_body(b"id:1")) for each in (1, 2)))
        async with asyncio.timeout(WITHIN):
            await waits.wait()
            await bound.messages.get()
        for _ in range(100):
            await asyncio.sleep(0)
        assert bound.messages.empty()
        may_go.set()
        async with asyncio.timeout(WITHIN):
            await bound.messages.get()


async def test_an_enquire_link_of_the_smsc_is_answered(smsc: RawSmsc) -> None:
    """With its number and nothing else."""
    async with bound_to(smsc):
        number = smsc.ask(ENQUIRE_LINK)
        assert await smsc.answered(number) == Frame(ENQUIRE_LINK | RESPONSE, 0, number, b"")


def _deliveries_in_memory() -> list[Pdu]:
    gc.collect()
    pdus = [each for each in gc.get_objects() if isinstance(each, Pdu)]
    return [each for each in pdus if each.command in (DELIVER_SM, DATA_SM)]


@pytest.mark.parametrize("command", [DELIVER_SM, DATA_SM])
async def test_a_message_is_answered_when_it_is_taken_and_not_before(
    smsc: RawSmsc, command: int
) -> None:
    """The session goes on meanwhile; the answer has the status of whoever took the message."""
    async with bound_to(smsc) as bound:
        number = smsc.ask(command, report_body(b"id:1", data_sm=command == DATA_SM))
        message, answer = await bound.messages.get()
        assert message.command == command
        assert await bound.submit() is SubmitStatus.ACCEPTED
        assert command | RESPONSE not in smsc.commands()
        del message
        assert not _deliveries_in_memory()  # an answer that waits keeps no message
        answer(0x14)
        assert await smsc.answered(number) == Frame(command | RESPONSE, 0x14, number, b"\0")


async def test_a_message_that_cannot_be_handled_ends_no_session(
    smsc: RawSmsc, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused for good and logged; the next one is passed on."""
    async with bound_to(smsc) as bound:
        bound.faults.append(RuntimeError("a fault of ours"))
        number = smsc.ask(DELIVER_SM, report_body(b"id:1"))
        assert (await smsc.answered(number)).status == 0x65
        smsc.ask(DELIVER_SM, report_body(b"id:2"))
        await bound.messages.get()
        assert await bound.submit() is SubmitStatus.ACCEPTED
    assert "smsc_message_failed" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("host", ["smsc..example", f"{'a' * 64}.example"])
async def test_a_host_that_is_no_name_is_no_connection(host: str) -> None:
    """As any other host that cannot be reached."""
    with pytest.raises(ProviderUnavailable, match="no connection: "):
        await SmppSession.bind("smsc", SmscSettings(host=host), None, lambda message, answer: None)


@pytest.mark.parametrize("command", [0x03, 0x21, 0x10203, 0x7FFFFFFF])
async def test_an_unknown_request_is_answered_by_generic_nack(smsc: RawSmsc, command: int) -> None:
    """RINVCMDID under its number, and the session goes on."""
    async with bound_to(smsc) as bound:
        number = smsc.ask(command, b"whatever")
        assert await smsc.answered(number) == Frame(NACK, 0x03, number, b"")
        assert await bound.submit() is SubmitStatus.ACCEPTED


@pytest.mark.parametrize("command", [0x0B, 0x102])
async def test_a_request_without_a_response_gets_none(smsc: RawSmsc, command: int) -> None:
    """*outbind* and *alert_notification* have no response."""
    async with bound_to(smsc):
        smsc.ask(command)
        number = smsc.ask(ENQUIRE_LINK)
        await smsc.answered(number)
    assert NACK not in smsc.commands()


@pytest.mark.parametrize("length", [0, 15, MOST_OCTETS + 1, 0xFFFFFFFF])
async def test_a_pdu_of_no_possible_length_ends_the_session(smsc: RawSmsc, length: int) -> None:
    """Nothing behind it can be read: RINVCMDLEN, and the end."""
    async with bound_to(smsc) as bound:
        smsc.send(HEADER.pack(length, DELIVER_SM, 0, 77))
        assert await smsc.answered(77) == Frame(NACK, 0x02, 77, b"")
        assert await bound.why() == f"the SMSC sent a PDU of {length} octets"
        assert bound.session.lost


async def test_a_response_to_nothing_is_passed_over(smsc: RawSmsc) -> None:
    """Another number, or another command: the right response still counts."""

    def confused(frame: Frame) -> bytes:
        wrong = pdu(SUBMIT_SM | RESPONSE, 0x0B, frame.sequence + 7, b"1\0")
        other = pdu(ENQUIRE_LINK | RESPONSE, 0x0B, frame.sequence)
        return wrong + other + pdu(SUBMIT_SM | RESPONSE, 0, frame.sequence, b"2\0")

    smsc.answers[SUBMIT_SM] = confused
    async with bound_to(smsc) as bound:
        assert await bound.submit() is SubmitStatus.ACCEPTED


def _nack(status: int, frame: Frame) -> bytes:
    return pdu(NACK, status, frame.sequence)


async def test_a_nack_of_a_submission_has_its_meaning(smsc: RawSmsc) -> None:
    """Its status counts; without one nobody knows what became of the message."""
    async with bound_to(smsc) as bound:
        for status, meaning in ((0x58, SubmitStatus.THROTTLED), (0, SubmitStatus.UNANSWERED)):
            smsc.answers[SUBMIT_SM] = partial(_nack, status)
            assert await bound.submit() is meaning


async def test_a_session_that_the_smsc_forgot_is_ended(smsc: RawSmsc) -> None:
    """RINVBNDSTS to a submission: it is not sent, and only another bind can help."""
    smsc.answers[SUBMIT_SM] = lambda frame: pdu(SUBMIT_SM | RESPONSE, 0x04, frame.sequence)
    async with bound_to(smsc, bind="transmitter_receiver") as bound:
        assert await bound.submit() is SubmitStatus.NOT_SENT
        assert await bound.why() == "the SMSC says that we are not bound: 0x04 RINVBNDSTS"
        assert bound.session.lost


@pytest.mark.parametrize("status", [0x88, 0x102, 0x3FF])
async def test_a_status_that_nobody_defined_is_the_operators(smsc: RawSmsc, status: int) -> None:
    """It arrives as it was sent, and blames neither the number nor the message."""
    smsc.answers[SUBMIT_SM] = lambda frame: pdu(SUBMIT_SM | RESPONSE, status, frame.sequence)
    async with bound_to(smsc) as bound:
        assert await bound.submit() is SubmitStatus.MISCONFIGURED


async def test_whatever_is_open_ends_with_the_connection(smsc: RawSmsc) -> None:
    """A submission without a response is unanswered at once; what comes later is not sent."""
    smsc.answers[SUBMIT_SM] = lambda frame: HEADER.pack(0, 0, 0, 0)
    async with bound_to(smsc) as bound:
        assert await bound.submit() is SubmitStatus.UNANSWERED
        assert await bound.submit() is SubmitStatus.UNANSWERED
    assert smsc.commands().count(SUBMIT_SM) == 1


async def test_responses_behind_an_unbind_of_the_smsc_count(smsc: RawSmsc) -> None:
    """What the SMSC took before is accepted, or it would be sent and paid twice; nothing more is
    submitted, and *unbind* is answered after the last response.
    """
    smsc.answers[SUBMIT_SM] = lambda frame: None
    async with bound_to(smsc) as bound:
        submitting = [asyncio.create_task(bound.submit()) for _ in range(2)]
        first, second = [await smsc.came(SUBMIT_SM, times) for times in (1, 2)]
        number = smsc.ask(UNBIND)
        smsc.send(pdu(SUBMIT_SM | RESPONSE, 0, first.sequence, b"1\0"))
        assert await submitting[0] is SubmitStatus.ACCEPTED
        await smsc.answered(smsc.ask(ENQUIRE_LINK))
        assert bound.session.lost
        assert await bound.submit() is SubmitStatus.UNANSWERED
        assert UNBIND | RESPONSE not in smsc.commands()
        smsc.send(pdu(SUBMIT_SM | RESPONSE, 0, second.sequence, b"2\0"))
        assert await submitting[1] is SubmitStatus.ACCEPTED
        assert await bound.why() == "the SMSC unbound us"
        assert (await smsc.answered(number)).command == UNBIND | RESPONSE
    assert smsc.commands().count(SUBMIT_SM) == 2


async def test_an_unbind_waits_for_no_response_longer_than_its_time(smsc: RawSmsc) -> None:
    """A submission that the SMSC never answers does not keep an unbound session open."""
    smsc.answers[SUBMIT_SM] = lambda frame: pdu(UNBIND, 0, 5)
    async with bound_to(smsc, response_time=0.05) as bound:
        assert await bound.submit() is SubmitStatus.UNANSWERED
        assert await bound.why() == "the SMSC unbound us"
        assert (await smsc.answered(5)).command == UNBIND | RESPONSE


async def test_responses_behind_a_forgotten_session_count(smsc: RawSmsc) -> None:
    """RINVBNDSTS to one submission takes nothing from the others that are open."""
    smsc.answers[SUBMIT_SM] = lambda frame: None
    async with bound_to(smsc) as bound:
        submitting = [asyncio.create_task(bound.submit()) for _ in range(2)]
        first, second = [await smsc.came(SUBMIT_SM, times) for times in (1, 2)]
        smsc.send(pdu(SUBMIT_SM | RESPONSE, 0x04, second.sequence))
        assert await submitting[1] is SubmitStatus.NOT_SENT
        assert bound.session.lost
        smsc.send(pdu(SUBMIT_SM | RESPONSE, 0, first.sequence, b"1\0"))
        assert await submitting[0] is SubmitStatus.ACCEPTED
        assert await bound.why() == "the SMSC says that we are not bound: 0x04 RINVBNDSTS"


async def test_closing_unbinds(smsc: RawSmsc) -> None:
    """The SMSC learns that the session ends."""
    async with bound_to(smsc):
        pass
    assert smsc.commands() == [TRANSCEIVER, UNBIND]


async def test_pdus_in_pieces_are_whole(smsc: RawSmsc) -> None:
    """TCP has no borders: one octet at a time, or several PDUs at once."""
    async with bound_to(smsc) as bound:
        body = report_body(b"id:1 stat:DELIVRD", optional=((0x1400, b"x" * 300),))
        octets = pdu(DELIVER_SM, 0, 50, body) + pdu(ENQUIRE_LINK, 0, 51)
        for octet in struct.unpack(f"{len(octets)}c", octets):
            smsc.send(octet)
            await asyncio.sleep(0)
        await smsc.answered(51)
        message, _ = await bound.messages.get()
    assert message.body == body


async def test_an_smsc_with_a_private_certificate_is_trusted_by_its_ca_file(
    tmp_path: Path,
) -> None:
    """With `ca_file` the session is bound, without it the certificate is refused."""
    certificate = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with RawSmsc(tls=context) as smsc:
        async with bound_to(smsc, trusting(certificate, "ca_file")) as bound:
            assert await bound.submit() is SubmitStatus.ACCEPTED
        with pytest.raises(ProviderUnavailable, match="certificate verify failed"):
            async with bound_to(smsc, trusting(None, "ca_file")):
                pass


def test_a_ca_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The setting, the file, and why."""
    (tmp_path / "empty.pem").write_text("nothing")
    for file, why in (("missing.pem", "No such file"), ("empty.pem", "contains no certificates")):
        with pytest.raises(ConfigurationError, match=f"^ca_file .*{file}: {why}"):
            trusting(tmp_path / file, "ca_file")
