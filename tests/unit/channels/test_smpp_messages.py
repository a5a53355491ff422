"""Messages, responses and broken rules in a session with an SMSC of plain sockets."""

from __future__ import annotations

import asyncio
import gc
import ssl
import struct
from functools import partial
from pathlib import Path

import pytest

from aoi_events.channels.sms.pdu import MOST_OCTETS, Pdu
from aoi_events.channels.sms.status import SubmitStatus
from aoi_events.errors import ProviderUnavailable
from aoi_events.platform.tls import client_context
from tests.support.certificates import self_signed
from tests.support.raw_smsc import (
    DATA_SM,
    DELIVER_SM,
    ENQUIRE_LINK,
    HEADER,
    NACK,
    RESPONSE,
    SUBMIT_SM,
    TRANSCEIVER,
    UNBIND,
    Frame,
    RawSmsc,
    pdu,
    report_body,
)
from tests.support.smpp_session import bound_to


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
        async with bound_to(smsc, client_context(certificate, "ca_file")) as bound:
            assert await bound.submit() is SubmitStatus.ACCEPTED
        with pytest.raises(ProviderUnavailable, match="certificate verify failed"):
            async with bound_to(smsc, client_context(None, "ca_file")):
                pass


@pytest.mark.parametrize("secret", [True, False], ids=["TLS", "plain"])
async def test_responses_before_a_close_count(tmp_path: Path, secret: bool) -> None:
    """An SMSC that answers all submissions and closes the connection right behind that has taken
    them: one that is taken for unanswered would be sent again.
    """
    certificate = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    asked: list[Frame] = []

    def answered_together(frame: Frame) -> bytes | None:
        asked.append(frame)
        if len(asked) < 3:
            return None
        responses = (pdu(SUBMIT_SM | RESPONSE, 0, each.sequence, b"1\0") for each in asked)
        smsc.send(pdu(DELIVER_SM, 0, 7, report_body(b"id:1 stat:DELIVRD")) + b"".join(responses))
        smsc.close()
        return None

    async with RawSmsc(tls=context if secret else None) as smsc:
        smsc.answers[SUBMIT_SM] = answered_together
        trusted = client_context(certificate, "ca_file") if secret else None
        async with bound_to(smsc, trusted) as bound:
            statuses = await asyncio.gather(*(bound.submit() for _ in range(3)))
    assert statuses == [SubmitStatus.ACCEPTED] * 3
