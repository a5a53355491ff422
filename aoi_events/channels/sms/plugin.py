"""The plug-in of the SMS channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, get_args

from aoi_events.channels.sms.offer import checked
from aoi_events.channels.sms.settings import SmsSettings
from aoi_events.contracts.content import Content
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.errors import ConfigurationError
from aoi_events.oma_push.datagrams import Bits
from aoi_events.oma_push.payload import largest_content, messages_for, room_for
from aoi_events.ports.channel import ChannelPlugin, Offered, OfferParameters
from aoi_events.ports.clock import Clock

if TYPE_CHECKING:
    from aoi_events.channels.sms.channel import SmsChannel

_MESSAGES: Final[Mapping[Bits, Callable[[Content], int]]] = {
    bits: partial(messages_for, bits=bits) for bits in get_args(Bits)
}


class SmsPlugin(ChannelPlugin):
    """See :class:`aoi_events.ports.channel.ChannelPlugin`.

    A device offers its telephone number as parameter ``msisdn``; the number is only claimed until
    the code of a challenge that was sent there has come back. ``clock`` is for tests.
    """

    type = "sms"
    settings_model = SmsSettings

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock

    def traits(self, settings: SmsSettings) -> ChannelTraits:
        """Connectionless; takes content that fits its short messages; its number must be proved."""
        return ChannelTraits(
            type=self.type,
            connection_oriented=False,
            ack_within=settings.ack_within,
            largest_content=largest_content(settings.parts, settings.reference_bits),
            needs_proof=True,
            cost=settings.cost,
            measure=room_for,
            messages=_MESSAGES[settings.reference_bits],
            uses_data=False,
        )

    def offer(self, parameters: OfferParameters, settings: SmsSettings) -> Offered:
        """The offer with its telephone number normalised. Raises Refusal (invalid)."""
        return checked(self.type, parameters, settings)

    def configured(self, settings: SmsSettings) -> bool:
        """Whether the operator set an SMSC."""
        return bool(settings.providers)

    async def connect(self, settings: SmsSettings) -> SmsChannel:
        """The sender; returns at once and connects in the background.

        Raises ConfigurationError when no SMSC is set.
        """
        # Only the worker that sends loads SMPP.
        from aoi_events.channels.sms.channel import SmsChannel

        if not settings.providers:
            raise ConfigurationError(
                "the SMS channel has no SMSC: set channels.sms.host, or channels.sms.smscs"
            )
        channel = SmsChannel(settings, clock=self._clock)
        channel.open()
        return channel


plugin: Final[ChannelPlugin] = SmsPlugin()
