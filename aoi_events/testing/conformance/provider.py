"""The provider behind a channel, as a test controls it, and items to deliver."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, ClassVar, Final

import pytest_asyncio

from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeItem
from aoi_events.contracts.identifiers import Urgency, base32_id
from aoi_events.domain.clients.channels import ChannelTraits, Parameters
from aoi_events.ports.channel import ChannelPlugin, ConnectionlessChannel, SubmitResult
from aoi_events.testing.limits import WITHIN

SOON: Final = WITHIN
"""Seconds within which what should happen happens, on a busy machine, too."""

_CLIENT: Final = base32_id("cli_", bytes(16))
_FINGERPRINT: Final = base32_id("fp_", bytes(8))

Work = DeliverItem | ChallengeItem
"""An item that a channel delivers."""
Told = tuple[str, ...]
"""An item as it arrives at a provider: ``("content", delivery, text)``, ``("wake-up", delivery)``,
``("challenge", code)``."""


@dataclass(frozen=True)
class Offers:
    """Parameters that a plug-in takes, and others, each with the field that it refuses."""

    good: Sequence[Parameters]
    bad: Sequence[tuple[Parameters, str]]


class ProviderAnswer(Enum):
    """How a provider answers an item."""

    TAKEN = auto()
    RECEIPTED = auto()
    """Taken, and later it says that the device has it."""
    UNDELIVERED = auto()
    """Taken, and later it says that the device never got it."""
    REFUSED = auto()
    SLOW_DOWN = auto()
    REJECTED = auto()
    NO_SUCH_ADDRESS = auto()


@dataclass
class Provider(ABC):
    """The provider behind a connectionless channel; `addresses`: three that it knows.

    `settings` make the channel hand over one item after the other, give up within two seconds, and
    look soon again whether a provider works.
    """

    plugin: ChannelPlugin
    settings: Any
    addresses: Sequence[Parameters]
    channels: list[ConnectionlessChannel] = field(default_factory=list)

    for_everybody: ClassVar[bool] = False
    """Whether one provider serves every device; else devices name hosts of their own."""
    names_messages: ClassVar[bool] = False
    """Whether it names the messages that it accepted, to report on them later."""
    says: ClassVar[frozenset[ProviderAnswer]] = frozenset(ProviderAnswer)
    """The answers that the channel can distinguish."""

    @property
    def traits(self) -> ChannelTraits:
        """The traits of the channel."""
        return self.plugin.traits(self.settings)

    async def connect(self) -> ConnectionlessChannel:
        """Connect a channel as a worker does; :meth:`close` closes it."""
        channel: ConnectionlessChannel | None = await self.plugin.connect(self.settings)
        assert channel is not None, "a connectionless channel has a sender"
        self.channels.append(channel)
        return channel

    async def close(self) -> None:
        """Close every channel that was connected."""
        for channel in self.channels:
            await channel.close()

    def expects(self, item: Work) -> Told:
        """The value that :meth:`arrived` returns for an item that was delivered."""
        return told_of(item)

    @abstractmethod
    def script(self, *answers: ProviderAnswer) -> None:
        """Answer the next items like this; items that are not scripted are taken."""

    @abstractmethod
    def arrived(self) -> list[Told]:
        """The items that arrived at the provider, in order."""

    @abstractmethod
    async def go_down(self) -> None:
        """Stop answering."""

    @abstractmethod
    async def come_back(self) -> None:
        """Answer again."""


class OfProvider:
    """Base of tests of a channel and its provider: give them a fixture ``provider`` that is up and
    answering, and is closed at the end.
    """

    @pytest_asyncio.fixture
    async def channel(self, provider: Provider) -> ConnectionlessChannel:
        """A channel that is connected to it."""
        channel = await provider.connect()
        await healthy(channel)
        return channel


def told_of(item: Work) -> Told:
    """The content or the code in an item."""
    if isinstance(item, ChallengeItem):
        return ("challenge", item.code)
    if item.wake_up:
        return ("wake-up", item.delivery)
    return ("content", item.delivery, item.content.data)


def delivery(provider: Provider, number: int = 1, **changes: Any) -> DeliverItem:
    """One step of delivery ``number``, to the provider's first address."""
    now = datetime.now(UTC)
    return DeliverItem(
        delivery=base32_id("dlv_", number.to_bytes(16, "big")),
        notification="gate-change",
        client=_CLIENT,
        channel=provider.plugin.type,
        token="token-of-an-app",  # noqa: S106 - of nobody
        fingerprint=_FINGERPRINT,
        application="travel",
        instance="default",
        urgency=Urgency.NORMAL,
        accepted_at=now,
        **{
            "step": 1,
            "attempt": 2,
            "content": Content(data=f"Gate B{number}"),
            "expires_at": now + timedelta(hours=1),
            "parameters": provider.addresses[0],
            **changes,
        },
    )


def challenge(provider: Provider, code: str = "K7QM2XPD", **changes: Any) -> ChallengeItem:
    """A challenge to the provider's first address."""
    return ChallengeItem(
        client=_CLIENT,
        channel=provider.plugin.type,
        attempt=1,
        code=code,
        **{
            "parameters": provider.addresses[0],
            "expires_at": datetime.now(UTC) + timedelta(minutes=2),
            **changes,
        },
    )


def outcomes(sent: Sequence[SubmitResult]) -> list[OutcomeItem]:
    """Deliver, and return the outcomes of deliveries."""
    return [each.outcome for each in sent if isinstance(each.outcome, OutcomeItem)]


async def healthy(channel: ConnectionlessChannel, *, is_so: bool = True) -> None:
    """Return once the health of the channel is as expected."""
    async with asyncio.timeout(SOON):
        while await channel.healthy() is not is_so:  # noqa: ASYNC110 - the port has no event for it
            await asyncio.sleep(0)
