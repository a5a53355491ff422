"""The channel port: what a notification channel's plug-in provides.

A plug-in is found by the entry point group ``aoi_events.channels``. Every one has the same anatomy
and passes the suite in ``aoi_events.testing.conformance``:

* ``offer(parameters, settings)``: pure; validates what a device offers and names the address.
* ``confirming(settings)``: adds to the answer what only that device may know of its channel.
* ``traits(settings)``: values that decisions use.
* ``connect(settings)``: for connectionless channels, the sender that a channel worker drives. A
  connection-oriented channel has none: its deliveries go to the gateway node that has the
  connection.

``settings`` is always an instance of the plug-in's ``settings_model``: the process validates it
once, at start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel

from aoi_events.contracts.envelopes import (
    ChallengeItem,
    ChallengeOutcome,
    DeliverItem,
    OutcomeItem,
)
from aoi_events.domain.clients.channels import ChannelTraits, Parameters
from aoi_events.domain.providers.breaker import Breaker

__all__ = [
    "ChannelPlugin",
    "Confirming",
    "ConnectionlessChannel",
    "Guarded",
    "OfferParameters",
    "Offered",
    "Receipt",
    "Sent",
    "SettingsModel",
    "Windowed",
]

SettingsModel: TypeAlias = type[BaseModel]
"""The class of a plug-in's settings (spelled here, where ``type`` is still the builtin)."""


Confirming: TypeAlias = Callable[[str, Parameters], Parameters]
"""From an AOI Client ID and the parameters of its channel to what only that device is told."""


OfferParameters: TypeAlias = Mapping[str, str | int | bool]
"""The parameters of an offer, as a device wrote them."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A valid offer: normalised parameters, and the address that must be proved, if any."""

    parameters: Parameters
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of handing one item to the provider.

    ``outcome`` is None for a challenge that the provider took: nobody waits for that.
    ``provider_messages`` is what the provider will call it in receipts, one name for each message
    that it took; None where it named none. ``throttled``: the provider asked to slow down, which is
    the channel's to do.
    """

    outcome: OutcomeItem | ChallengeOutcome | None
    provider_messages: tuple[str | None, ...] = ()
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """A later word of the provider about ``provider_message``, one of those that it took.

    ``kind`` (of an outcome) and the rest are put into an OutcomeItem by the channel worker, which
    knows the step from the store.
    """

    provider_message: str
    kind: str
    detail: str = ""
    closes_channel: bool = False


class ConnectionlessChannel(Protocol):
    """A channel whose provider takes messages for devices that are not connected to us."""

    @property
    def provider(self) -> str:
        """Names the provider (an SMSC, a push service) in the store and in metrics."""

    @property
    def at_once(self) -> int:
        """How many items it wants to have at once; the worker takes no more before some of them are
        answered.
        """

    def lane(self, item: DeliverItem | ChallengeItem) -> str:
        """What the item waits behind: its provider, as far as that is known beforehand. Items of
        one lane are handed over together, and wait for those of no other.
        """

    async def deliver(self, items: Sequence[DeliverItem | ChallengeItem]) -> Sequence[Sent]:
        """Hand items over; one result each, in order. A provider's refusal is a result, and an
        exception is a bug, but for ProviderUnavailable: then none of them was attempted. Never
        takes longer than the channel's own time-outs. May be called again before it has returned.

        What has expired is refused, and what was not given to a provider that is down is
        *unavailable*; content that measures more than the largest is rejected, and parameters
        without an address close the channel. None of that goes out, and none of it holds back the
        other items.
        """

    def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """Receipts as they come, in batches; ends when the channel is closed."""

    async def healthy(self) -> bool:
        """Whether messages can be taken now."""

    async def close(self) -> None:
        """Stop; idempotent."""


@runtime_checkable
class Guarded(Protocol):
    """A channel that knows which of its providers work; optional."""

    @property
    def providers(self) -> Collection[str]:
        """Names of those that the operator set; devices may name others."""

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """By name, each provider whose breaker is not closed now."""


@runtime_checkable
class Windowed(Protocol):
    """A channel that bounds how many submissions its provider has not answered; optional."""

    @property
    def window_in_use(self) -> int:
        """How many those are now."""


class ChannelPlugin(Protocol):
    """One type of notification channel. Derive from it to tell a device nothing more, and to be
    always configured.
    """

    @property
    def type(self) -> str:
        """The type's name, as devices offer it."""

    @property
    def settings_model(self) -> SettingsModel:
        """Its settings, all with defaults or none; section ``channels.<type>`` of the settings. The
        other methods get an instance of it.
        """

    def traits(self, settings: Any) -> ChannelTraits:
        """What decisions need to know of it."""

    def offer(self, parameters: OfferParameters, settings: Any) -> Offered:
        """Check what a device offers. Raises Refusal (invalid) that says what to send instead."""

    def confirming(self, settings: Any) -> Confirming | None:
        """What the answer to an activation says beside the channel's parameters: a secret to
        verify messages with, say. It follows from its arguments, is not stored, and goes to nobody
        else. None: nothing.

        Asked once, when the activation worker starts. Raises ConfigurationError when a key is not
        set.
        """
        return None

    def configured(self, settings: Any) -> bool:
        """Whether this installation can use it (an SMSC is set, say)."""
        return True

    async def connect(self, settings: Any) -> ConnectionlessChannel | None:
        """The sender, or None for a connection-oriented channel."""
