"""One SMPP session with one SMSC, from bind to unbind: a transceiver, or a transmitter and mostly a
receiver beside it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Self

from aoi_events.channels.sms.connection import Answer, SmppConnection
from aoi_events.channels.sms.numbers import source
from aoi_events.channels.sms.pdu import (
    RESPONSE,
    Command,
    Pdu,
    SubmitSm,
    bind_body,
    message_id_in,
    submit_body,
)
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import (
    INVALID_BIND_STATE,
    INVALID_EXPIRY,
    OK,
    SubmitStatus,
    Submitted,
    status_text,
    submitted_of,
)
from aoi_events.channels.sms.validity import validity_period
from aoi_events.errors import ProviderUnavailable
from aoi_events.platform.logs import get_logger
from aoi_events.platform.tasks import first_completed

OnMessage = Callable[[Pdu, Answer], None]

_USER_DATA_HEADER: Final = 0x40  # esm_class, SMPP 3.4, 5.2.12
_OCTETS: Final = 0x04  # data_coding: 8-bit binary, 5.2.19
_UNBIND_TIME: Final = 1.0
_NEARLY_EXPIRED: Final = 5.0
_BINDS: Final = {
    "transceiver": (Command.BIND_TRANSCEIVER,),
    "transmitter_receiver": (Command.BIND_TRANSMITTER, Command.BIND_RECEIVER),
    "transmitter": (Command.BIND_TRANSMITTER,),
}

log = get_logger(__name__)


class SmppSession:
    """Bound connections; the first is for submissions, and all end with the first that ends."""

    def __init__(
        self, name: str, settings: SmscSettings, connections: Sequence[SmppConnection]
    ) -> None:
        self._name = name
        self._settings = settings
        self._source = source(settings.source, settings.source_ton, settings.source_npi)
        self._connections = connections

    @classmethod
    async def bind(
        cls,
        name: str,
        settings: SmscSettings,
        tls: ssl.SSLContext | None,
        on_message: OnMessage,
    ) -> Self:
        """Connect and bind, within ``connect_time``. ``on_message`` gets every ``deliver_sm`` and
        ``data_sm``. Raises ProviderUnavailable.
        """
        bound: list[SmppConnection] = []
        try:
            async with asyncio.timeout(settings.connect_time):
                for command in _BINDS[settings.bind]:
                    connection = await SmppConnection.open(
                        settings.host or "", settings.port, tls, on_message
                    )
                    bound.append(connection)
                    await _bind(connection, command, settings)
        except BaseException as error:
            # The SMSC may have bound us already: an unused session must not stay open there.
            await _close(bound)
            if isinstance(error, TimeoutError):
                why = f"no answer to the bind within {settings.connect_time:g} s"
                raise ProviderUnavailable(why) from None
            raise
        for connection in bound:
            connection.check(settings.enquire_link, settings.response_time)
        return cls(name, settings, bound)

    @property
    def lost(self) -> bool:
        """Whether the session takes no more messages."""
        return any(connection.lost for connection in self._connections)

    async def ended(self) -> str:
        """Wait until the session has ended, for any reason; returns the reason."""
        await first_completed(*(connection.ended for connection in self._connections))
        return next(each.ended.result() for each in self._connections if each.ended.done())

    async def close(self) -> None:
        """Submit no more, and unbind where the SMSC still answers, after the responses to what is
        submitted; takes a second more than ``response_time`` at most.
        """
        await _close(self._connections, responses_within=self._settings.response_time)

    async def submit(self, push: Push, user_data: bytes) -> Submitted:
        """Submit one short message of a push; takes at most ``response_time`` seconds."""
        settings, transmitter = self._settings, self._connections[0]
        submitted_at = asyncio.get_running_loop().time()
        message = SubmitSm(
            source=self._source,
            destination=replace(
                push.to, ton=settings.destination_ton, npi=settings.destination_npi
            ),
            esm_class=_USER_DATA_HEADER,
            data_coding=_OCTETS,
            registered_delivery=settings.registered_delivery,
            short_message=user_data,
            service_type=settings.service_type,
            validity_period=validity_period(
                settings.validity, push.expires_at - submitted_at, push.valid_until
            ),
        )
        try:
            response = await transmitter.request(
                Command.SUBMIT_SM, submit_body(message), within=settings.response_time
            )
        except ProviderUnavailable as error:
            return Submitted(SubmitStatus.UNANSWERED, detail=f"link lost: {error}")
        except TimeoutError:
            waited = f"no response within {settings.response_time:g} s"
            if transmitter.received_at < submitted_at:
                # Nothing was received since: the link is dead, not only this message lost.
                log.warning("smsc_link_silent", smsc=self._name, why=waited)
                transmitter.end(waited)
            return Submitted(SubmitStatus.UNANSWERED, detail=waited)
        if response.command == Command.GENERIC_NACK and response.status == OK:
            return Submitted(SubmitStatus.UNANSWERED, detail="an unreadable response")
        if response.status == INVALID_BIND_STATE:
            why = f"the SMSC says that we are not bound: {status_text(response.status)}"
            transmitter.end_after_responses(why)
        left = push.expires_at - asyncio.get_running_loop().time()
        if response.status == INVALID_EXPIRY and left < _NEARLY_EXPIRED:
            # Its validity period was over when the SMSC read it: our settings are right.
            return Submitted(SubmitStatus.REFUSED, detail="expired when it reached the SMSC")
        return submitted_of(response.status, message_id_in(response.body))


async def _bind(connection: SmppConnection, command: Command, settings: SmscSettings) -> None:
    body = bind_body(
        settings.system_id, settings.password.get_secret_value().encode(), settings.system_type
    )
    response = await connection.request(command, body, within=settings.connect_time)
    if response.status != OK or response.command != command | RESPONSE:
        why = f"the SMSC refused {command.name.lower()}: {status_text(response.status)}"
        connection.end(why)
        raise ProviderUnavailable(why)


async def _close(connections: Sequence[SmppConnection], *, responses_within: float = 0.0) -> None:
    """Close all of them, also when one fails or this is cancelled; raises the first fault."""
    closing = [
        connection.close(_UNBIND_TIME, responses_within=responses_within)
        for connection in connections
    ]
    for result in await asyncio.gather(*closing, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
