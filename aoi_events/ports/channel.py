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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel

from aoi_events.domain.clients.channels import ChannelTraits, Parameters

if TYPE_CHECKING:
    # A command that lists settings loads every plug-in, and carries nothing out.
    from aoi_events.contracts.envelopes import (
        ChallengeItem,
        ChallengeOutcome,
        DeliverItem,
        OutcomeItem,
    )
    from aoi_events.domain.providers.breaker import Breaker

SettingsModel: TypeAlias = type[BaseModel]
"""The class of a plug-in's settings (spelled here, where ``type`` is still the builtin)."""


Confirming: TypeAlias = Callable[[str, Parameters], Parameters]
"""From an AOI Client ID and the parameters of its channel to parameters for that device only."""


OfferParameters: TypeAlias = Mapping[str, str | int | bool]
"""The parameters of an offer, as a device wrote them."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A valid offer: normalised parameters, and the address that must be proved, if any."""

    parameters: Parameters
    address: str | None = None


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The result of sending one item to the provider.

    ``outcome`` is None for a challenge that the provider accepted. ``provider_messages``: the IDs
    that the provider will use in receipts, one for each message that it took; None where it named
    none. ``throttled``: the provider asked us to slow down; the channel does so itself.
    ``address``: what receipts must name of the address, if their IDs are spelled in another way.
    """

    outcome: OutcomeItem | ChallengeOutcome | None
    provider_messages: tuple[str | None, ...] = ()
    throttled: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class Spelled:
    """A name that the message of a receipt may have, folded (see
    :func:`aoi_events.domain.providers.message_ids.folded`); ``how`` the receipt spells it.
    """

    how: str
    folded: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A later report of the provider about ``provider_message``, a message that it took.

    ``kind`` (of an outcome) and the rest are put into an OutcomeItem by the channel worker, which
    knows the step from the store.

    Where a provider spells IDs in its receipts in another way than in its answers: ``spellings``
    are other names that the message may have; one counts if the message's address is among
    ``addresses``. ``usual``: the spelling that the operator set for this provider; None: to be
    found out. Not ``sure``: an exact name counts only so, too. ``provider`` and ``latest``, the
    last ID in an answer of it, are for the operator.

    ``acknowledge`` is called once, when the receipt needs not come again: its outcome is published,
    or its message stays unknown. A channel whose provider repeats receipts answers it then.
    """

    provider_message: str
    kind: str
    detail: str = ""
    closes_channel: bool = False
    spellings: tuple[Spelled, ...] = ()
    addresses: tuple[str, ...] = ()
    usual: str | None = None
    sure: bool = True
    provider: str = ""
    latest: str = ""
    acknowledge: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)


class ConnectionlessChannel(Protocol):
    """A channel whose provider takes messages for devices that are not connected to us."""

    @property
    def provider(self) -> str:
        """Names the provider (an SMSC, a push service) in the store and in metrics."""

    @property
    def at_once(self) -> int:
        """How many items the channel takes at once; the worker waits for results before it passes
        more. A channel whose items may wait sees to it that those of one lane leave room to others.
        """

    def lane(self, item: DeliverItem | ChallengeItem) -> str:
        """The lane of an item: what works or fails as a whole, as far as that is known beforehand
        (its provider, or one URL). Of the items that the worker has, it passes those of lanes with
        few items first.
        """

    async def deliver(self, items: Sequence[DeliverItem | ChallengeItem]) -> Sequence[SubmitResult]:
        """Send items; one result each, in order. A provider's refusal is a result. An exception is
        a bug, except ProviderUnavailable: then no item was attempted. Never takes longer than the
        channel's own time-outs. May be called again before it has returned: the worker does so for
        each item, and reports the result when it has it.

        An expired item is refused; an item that was not sent because its provider is down is
        *unavailable*; content that is too large is rejected; parameters without an address close
        the channel. No such item is sent, and none of them delays the other items.
        """

    def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """Receipts in batches, as they arrive; ends when the channel is closed."""

    async def healthy(self) -> bool:
        """Whether messages can be taken now."""

    async def close(self) -> None:
        """Stop; idempotent."""


@runtime_checkable
class Guarded(Protocol):
    """A channel with circuit breakers for its providers; optional."""

    @property
    def providers(self) -> Collection[str]:
        """Names of the providers that the operator set; devices may name others."""

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """Each provider whose breaker is not closed now, by name."""


@runtime_checkable
class Windowed(Protocol):
    """A channel with a limit on submissions without an answer; optional."""

    @property
    def window_in_use(self) -> int:
        """How many submissions have no answer now."""


class ChannelPlugin(Protocol):
    """One type of notification channel. A class that derives from it confirms nothing, and is
    always configured, unless it overrides these methods.
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
        """The properties of the channel that decisions use."""

    def offer(self, parameters: OfferParameters, settings: Any) -> Offered:
        """Check an offer of a device. Raises Refusal (invalid) that names what to send instead."""

    def confirming(self, settings: Any) -> Confirming | None:
        """A function for parameters that the answer to an activation adds to those of the channel,
        like a secret to verify messages with. They are derived from its arguments, are not stored,
        and are sent to that device only. None: no such parameters.

        Asked once, when the activation worker starts. Raises ConfigurationError when a key is not
        set.
        """
        return None

    def configured(self, settings: Any) -> bool:
        """Whether this installation can use the channel (for example, whether an SMSC is set)."""
        return True

    async def connect(self, settings: Any) -> ConnectionlessChannel | None:
        """The sender, or None for a connection-oriented channel."""
