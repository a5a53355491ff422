"""A session with an SMSC of plain sockets: binds, settings, validity, link checks."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import SubmitStatus
from aoi_events.channels.sms.validity import validity_period
from aoi_events.errors import ProviderUnavailable
from tests.support.limits import WITHIN
from tests.support.raw_smsc import (
    DELIVER_SM,
    ENQUIRE_LINK,
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
from tests.support.smpp_session import bound_to


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


@pytest.mark.parametrize("command", [UNBIND, None])
async def test_an_smsc_that_ends_the_connection_instead_of_binding_is_reported_at_once(
    smsc: RawSmsc, command: int | None
) -> None:
    """*unbind* or a close in place of the response: by its reason, long before any time-out."""

    def ended(frame: Frame) -> bytes | None:
        if command is None:
            smsc.close()
            return None
        return pdu(command, 0, 99)

    smsc.answers[TRANSCEIVER] = ended
    why = "the SMSC unbound us" if command else "the SMSC closed the connection"
    async with asyncio.timeout(WITHIN):
        with pytest.raises(ProviderUnavailable, match=why):
            async with bound_to(smsc):
                pass


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


async def test_a_session_is_closed_while_an_enquire_link_is_open(smsc: RawSmsc) -> None:
    """Only submissions are waited for: *unbind* goes out before the check of the link is over."""
    smsc.answers[ENQUIRE_LINK] = lambda frame: None
    async with bound_to(smsc, enquire_link=0.01, response_time=1.0) as bound:
        await smsc.came(ENQUIRE_LINK)
        await bound.session.close()
        assert await bound.why() == "closed"
    assert smsc.commands()[-1] == UNBIND


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
        ({"password": "a\0b"}, "password", "must not have control characters"),
        ({"password": "secret\n"}, "password", "must not have control characters"),
        ({"ca_file": "ca.pem"}, "ca_file", "is of no use without TLS: set tls"),
        ({"bind": "receiver"}, "bind", "transmitter"),
        ({"enquire_link": 0}, "enquire_link", "greater than or equal to 0.001"),
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
