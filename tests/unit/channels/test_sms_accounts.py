"""Several SMSCs of a table that are one account, whose receipts come over any of its binds."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.channels.sms import SmsSettings, plugin
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.ports.channel import Receipt
from tests.support.limits import WITHIN
from tests.support.raw_smsc import DELIVER_SM, RESPONSE, TRANSCEIVER, RawSmsc, report_body
from tests.unit.channels.test_sms_channel import delivery


def settings(**entries: dict[str, object]) -> SmsSettings:
    """A table of SMSCs."""
    return SmsSettings.model_validate({"smscs": entries})


@pytest.mark.parametrize(
    "changes, one",
    [
        ({}, True),
        ({"host": "SMSC.example", "source": "12345", "prefixes": ["+49"]}, True),
        ({"host": "other.example"}, False),
        ({"port": 2776}, False),
        ({"system_id": "other"}, False),
    ],
)
def test_an_account_is_a_host_a_port_and_a_system_id(changes: dict[str, object], one: bool) -> None:
    """Whatever else differs; the first entry names it."""
    accounts = settings(a={"host": "smsc.example"}, b={"host": "smsc.example", **changes}).accounts
    assert accounts == {"a": "a", "b": "a" if one else "b"}


async def test_a_receipt_may_come_over_another_bind_of_its_account() -> None:
    """It names the message as the submission through the other entry did."""
    async with RawSmsc() as smsc:
        entry = {"host": smsc.host, "port": smsc.port}
        table = settings(nl={**entry, "prefixes": ["+31"]}, de={**entry, "prefixes": ["+49"]})
        channel = await plugin.connect(table)
        assert channel is not None
        try:
            async with asyncio.timeout(WITHIN):
                await smsc.came(TRANSCEIVER, 2)
                items = [delivery(), delivery(parameters={"msisdn": "+49170000001"})]
                names = [sent.provider_messages[0] for sent in await channel.deliver(items)]
                assert names == ["nl 00000001", "nl 00000002"]
                asked = [
                    smsc.ask(DELIVER_SM, report_body(b"id:00000002 stat:UNDELIV"), connection)
                    for connection in (0, 1)
                ]
                receipts: list[Receipt] = []
                async for batch in channel.receipts():
                    receipts += batch
                    if len(receipts) == 2:
                        break
                assert [each.provider_message for each in receipts] == [names[1]] * 2
                assert {each.provider for each in receipts} == {"nl", "de"}
                assert {each.kind for each in receipts} == {OutcomeKind.REJECTED}
                assert DELIVER_SM | RESPONSE not in smsc.commands()
                for each in receipts:
                    each.acknowledge()
                assert [(await smsc.answered(number)).status for number in asked] == [0, 0]
        finally:
            await channel.close()
