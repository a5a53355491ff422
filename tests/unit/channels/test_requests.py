"""The base of channels whose providers answer each request and send no receipts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aoi_events.channels import ChallengeItem, Item, OutcomeKind, RequestChannel, Verdict
from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import DeliverItem, OutcomeItem
from aoi_events.contracts.identifiers import Urgency, base32_id

CLIENT = base32_id("cli_", bytes(16))


def delivery(number: int, **parameters: Any) -> DeliverItem:
    """A delivery to an address."""
    now = datetime.now(UTC)
    return DeliverItem(
        delivery=base32_id("dlv_", number.to_bytes(16, "big")),
        notification="n",
        client=CLIENT,
        channel="post",
        step=0,
        attempt=1,
        token="token-of-an-app",
        fingerprint=base32_id("fp_", bytes(8)),
        application="travel",
        instance="default",
        content=Content(data="Gate B1"),
        urgency=Urgency.NORMAL,
        accepted_at=now,
        expires_at=now + timedelta(hours=1),
        parameters=parameters,
    )


def challenge(**parameters: Any) -> ChallengeItem:
    """A challenge to an address."""
    expires_at = datetime.now(UTC) + timedelta(minutes=2)
    return ChallengeItem(
        client=CLIENT,
        channel="post",
        attempt=1,
        code="K7QM2XPD",
        parameters=parameters,
        expires_at=expires_at,
    )


class Post(RequestChannel[str]):
    """It cannot do without an address, and does not know what to do with some."""

    def __init__(self) -> None:
        super().__init__("post", within=5.0, at_once=8, each=8)
        self.sent: list[str] = []

    def lane(self, item: Item) -> str:
        """One for all."""
        return "post"

    def prepare(self, item: Item, now: datetime) -> str:
        """The address."""
        return str(item.parameters["address"])

    async def submit(self, prepared: str) -> Verdict:
        """Taken."""
        if prepared == "odd":
            raise ZeroDivisionError
        self.sent.append(prepared)
        return Verdict(OutcomeKind.ACCEPTED, "taken")


@pytest.mark.parametrize("odd", [{}, {"address": "odd"}])
async def test_an_item_that_brings_out_a_bug_costs_the_others_nothing(odd: dict[str, str]) -> None:
    """An item with a bug is parked alone; the others are sent, and sent once."""
    channel = Post()
    items: list[Item] = [
        delivery(1, address="a"),
        delivery(2, **odd),
        challenge(**odd),
        delivery(3, address="b"),
    ]
    sent = await channel.deliver(items)
    assert [each.outcome and each.outcome.kind for each in sent] == [
        OutcomeKind.ACCEPTED,
        OutcomeKind.PARKED,
        None,
        OutcomeKind.ACCEPTED,
    ]
    assert channel.sent == ["a", "b"]
    parked = sent[1].outcome
    assert isinstance(parked, OutcomeItem)
    assert parked.detail == "the channel could not handle it"
    await channel.close()
