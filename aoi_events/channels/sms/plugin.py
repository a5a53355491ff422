"""The plug-in of the SMS channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, get_args

from aoi_events.channels.base.offers import only
from aoi_events.channels.sms.channel import NUMBER, SmsChannel
from aoi_events.channels.sms.numbers import normalised
from aoi_events.channels.sms.routing import routes
from aoi_events.channels.sms.settings import SmsSettings
from aoi_events.contracts.content import Content
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.errors import ConfigurationError, ErrorCode, Refusal
from aoi_events.oma_push.datagrams import Bits
from aoi_events.oma_push.payload import largest_content, messages_for, room_for
from aoi_events.ports.channel import ChannelPlugin, Offered, OfferParameters, SettingsModel
from aoi_events.ports.clock import Clock

__all__ = ["SmsPlugin", "plugin"]


_MESSAGES: Final[Mapping[Bits, Callable[[Content], int]]] = {
    bits: partial(messages_for, bits=bits) for bits in get_args(Bits)
}


class SmsPlugin:
    """See :class:`aoi_events.ports.channel.ChannelPlugin`.

    A device offers its telephone number as parameter ``msisdn``; the number is only claimed until
    a challenge that went there has come back. ``clock`` is for tests that put theirs forward.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock

    @property
    def type(self) -> str:
        """``sms``."""
        return "sms"

    @property
    def settings_model(self) -> SettingsModel:
        """Section ``channels.sms`` of the settings."""
        return SmsSettings

    def traits(self, settings: Any) -> ChannelTraits:
        """Connectionless, as large as its short messages, its number to be proved."""
        checked = SmsSettings.model_validate(settings)
        return ChannelTraits(
            type=self.type,
            connection_oriented=False,
            ack_within=checked.ack_within,
            largest_content=largest_content(checked.parts, checked.reference_bits),
            needs_proof=True,
            cost=checked.cost,
            measure=room_for,
            messages=_MESSAGES[checked.reference_bits],
            uses_data=False,
        )

    def offer(self, parameters: OfferParameters, settings: Any) -> Offered:
        """A telephone number, normalised, that an SMSC takes. Raises Refusal (invalid) for anything
        else.
        """
        only(self.type, parameters, NUMBER)
        offered = parameters.get(NUMBER)
        number = normalised(offered) if isinstance(offered, str) else None
        if number is None:
            raise Refusal(
                ErrorCode.INVALID,
                "offer the telephone number in international form as text: + and 7 to 15 digits",
                field=f"parameters.{NUMBER}",
            )
        smscs = SmsSettings.model_validate(settings).providers
        if smscs and not routes(number, smscs):
            raise Refusal(
                ErrorCode.INVALID,
                "no SMSC of this server takes numbers that begin like this one",
                field=f"parameters.{NUMBER}",
            )
        return Offered(parameters={NUMBER: number}, address=number)

    def confirming(self, settings: Any) -> None:
        """Nothing more to tell."""

    def configured(self, settings: Any) -> bool:
        """Whether an SMSC is set."""
        return bool(SmsSettings.model_validate(settings).providers)

    async def connect(self, settings: Any) -> SmsChannel:
        """The sender; returns at once and connects in the background.

        Raises ConfigurationError when no SMSC is set.
        """
        checked = SmsSettings.model_validate(settings)
        if not checked.providers:
            raise ConfigurationError(
                "the SMS channel has no SMSC: set channels.sms.host, or channels.sms.smscs"
            )
        channel = SmsChannel(checked, clock=self._clock)
        channel.open()
        return channel


plugin: Final[ChannelPlugin] = SmsPlugin()
