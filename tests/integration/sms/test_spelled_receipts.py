"""Receipts that name a message in another way than the response to its submission: a notification
that the SMSC reports as not delivered takes its fallback, and never counts as delivered.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from aoi_events import Publisher
from aoi_events.domain.clients.channels import ChannelState
from aoi_events.testing import AoiServer, WaitFor
from tests.integration.sms.conftest import BOTH, MakeHandset
from tests.integration.sms.handset import Handset
from tests.integration.sms.test_fallback import both
from tests.support.counts import counted
from tests.support.raw_smsc import DATA_SM, DELIVER_SM, SUBMIT_SM, RawSmsc, report_body
from tests.support.receivers import Receiver

CHALLENGE, MESSAGE = "00C0FFEE", "00B8BE12"
UNDELIVERED = "id:{} sub:001 dlvrd:000 submit date:0 done date:0 stat:{} err:001 text:"


def text(id_: str = MESSAGE, stat: str = "UNDELIV") -> bytes:
    """A receipt in text."""
    return UNDELIVERED.format(id_, stat).encode()


FORMS: Mapping[str, tuple[int, bytes]] = {
    "decimal": (DELIVER_SM, report_body(text("12107282"))),
    "without zeros": (DELIVER_SM, report_body(text("B8BE12"))),
    "small letters": (DELIVER_SM, report_body(text("00b8be12"))),
    "padded": (DELIVER_SM, report_body(text("000000000012107282"), source="0600000001")),
    "failed": (DELIVER_SM, report_body(text("12107282", "FAILED"))),
    "no state": (DELIVER_SM, report_body(text("12107282").replace(b"stat:UNDELIV ", b""))),
    "UCS-2": (
        DELIVER_SM,
        report_body(text("12107282").decode().encode("utf-16-be"), data_coding=8),
    ),
    "unmarked": (DELIVER_SM, report_body(text("12107282"), esm_class=0)),
    "commas": (DELIVER_SM, report_body(b"id:B8BE12,sub:001,stat:UNDELIV")),
    "data_sm": (DATA_SM, report_body(text("12107282"), data_sm=True)),
    "parameters": (
        DELIVER_SM,
        report_body(esm_class=0, optional=((0x1E, b"12107282\0"), (0x0427, b"\x09"))),
    ),
}


@pytest.fixture
async def raw() -> AsyncIterator[RawSmsc]:
    """The SMSC."""
    async with RawSmsc(iter([CHALLENGE, MESSAGE, "00B8BE13", "00B8BE14"])) as raw:
        yield raw


@pytest.fixture
def aoi_settings(aoi_settings: Mapping[str, Any], raw: RawSmsc) -> Mapping[str, Any]:
    """That SMSC, and webhooks."""
    webhook = {
        "enabled": True,
        "allow_http": True,
        "networks": ["127.0.0.0/8"],
        "ports": [],
        "signing_key": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    sms = {**aoi_settings["channels"]["sms"], "host": raw.host, "port": raw.port}
    return {**aoi_settings, "channels": {"sms": sms, "webhook": webhook}}


async def prove(server: AoiServer, phone: Handset) -> None:
    """Activate the telephone's number, as its code would."""
    async with server.installation.store.transaction() as tx:
        rows = (await tx.channels({phone.client}))[phone.client]
        await tx.save_channels([replace(row, state=ChannelState.ACTIVE) for row in rows])


@pytest.mark.parametrize("form", FORMS)
async def test_a_receipt_in_any_form_ends_no_notification_as_delivered(
    server: AoiServer,
    raw: RawSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
    form: str,
) -> None:
    """Not delivered, whatever the spelling: the notification is stored, for there is no other
    channel, and the SMSC has the answer to its receipt.
    """
    phone = await handset(proved=False)
    await phone.offer()
    await raw.came(SUBMIT_SM)
    await prove(server, phone)
    await shop.send(phone.token, "Gate B12", notification="n1")
    await raw.came(SUBMIT_SM, 2)
    await wait_for.hop("n1", "accepted")
    command, body = FORMS[form]
    number = raw.ask(command, body)
    await wait_for.hop("n1", "rejected")
    assert (await raw.answered(number)).status == 0
    await wait_for("notification.stored", notification="n1")
    smsc = f"aoi@{raw.host}:{raw.port}"
    await counted(
        server.installation.metrics, 1, "aoi_receipts_total", provider=smsc, result="respelled"
    )


@pytest.mark.parametrize(
    "receipt, submissions",
    [
        ("stat:GREEN", 1),
        ("stat:UNKNOWN", 1),
        ("stat:7", 1),
        ("sub:001", 1),
        ("stat:DELIVERYUNCERTAIN", 1),
        ("stat:EXPIRED", 2),
    ],
)
async def test_a_state_that_is_not_understood_sends_no_message_again(
    server: AoiServer,
    raw: RawSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
    receipt: str,
    submissions: int,
) -> None:
    """The step ends, and each message is paid once: the receipt of another would say the same."""
    phone = await handset(proved=False)
    await phone.offer()
    await raw.came(SUBMIT_SM)
    await prove(server, phone)
    await shop.send(phone.token, "Gate B12", notification="n1")
    await wait_for.hop("n1", "accepted")
    raw.ask(DELIVER_SM, report_body(f"id:{MESSAGE} {receipt}".encode()))
    if submissions == 1:
        await wait_for("notification.stored", notification="n1")
    else:
        await raw.came(SUBMIT_SM, 3)
    server.advance(60)
    await shop.send(phone.token, "Gate B13", notification="n2")
    await wait_for.hop("n2", "accepted")
    assert raw.commands().count(SUBMIT_SM) == 1 + submissions + 1


@BOTH
async def test_a_message_that_was_not_delivered_takes_its_fallback(
    server: AoiServer,
    raw: RawSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
) -> None:
    """The SMSC names the message in decimal and says UNDELIV: the webhook has it at once."""
    phone = await handset(proved=False)
    async with Receiver() as receiver:
        await both(phone, receiver)
        await raw.came(SUBMIT_SM)
        await prove(server, phone)
        await shop.send(phone.token, "Gate B12", notification="n1")
        await raw.came(SUBMIT_SM, 2)
        await wait_for.hop("n1", "accepted")
        raw.ask(DELIVER_SM, report_body(text("12107282")))
        assert b"Gate B12" in (await receiver.next(1)).body
        raw.ask(DELIVER_SM, report_body(text("12107282", "DELIVRD")))


async def test_a_receipt_of_another_telephone_changes_nothing(
    server: AoiServer,
    raw: RawSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The ID fits in another base and the number does not: the receipt names no message. After
    some of them the operator is warned, with both spellings.
    """
    phone = await handset(proved=False)
    await phone.offer()
    await raw.came(SUBMIT_SM)
    await prove(server, phone)
    await shop.send(phone.token, "Gate B12", notification="n1")
    await wait_for.hop("n1", "accepted")
    strangers = [
        raw.ask(DELIVER_SM, report_body(text("12107282"), source=f"3160000009{n}"))
        for n in range(5)
    ]
    for stranger in strangers:  # after the short time for which the SMSC's window may be blocked
        assert (await raw.answered(stranger)).status == 0
    assert not _warnings(caplog, "receipt_of_unknown_message", 1)()
    server.advance(61)
    await wait_for(_warnings(caplog, "receipt_of_unknown_message", 5))
    await wait_for(_warnings(caplog, "receipts_name_no_message", 1))
    [warning] = [
        vars(record)
        for record in caplog.records
        if record.getMessage() == "receipts_name_no_message"
    ]
    await counted(
        server.installation.metrics, 5, "aoi_receipts_total", channel="sms", result="unknown"
    )
    assert warning["in_receipt"] == "12107282"
    assert warning["in_response"].startswith("00B8BE1")  # the latest, perhaps of a challenge


def _warnings(caplog: pytest.LogCaptureFixture, what: str, count: int) -> Callable[[], bool]:
    """Whether something was logged so often."""
    caplog.set_level("INFO", "aoi_events")
    return lambda: [record.getMessage() for record in caplog.records].count(what) >= count
