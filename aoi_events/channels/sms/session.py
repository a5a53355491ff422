"""One SMPP session with one SMSC, from bind to unbind.

What smpp34 1.5 leaves to us, found by experiment:

* It waits 30 s for a response, also when its client stops: every submission is raced against our
  own time-out and against the end of the session.
* A lost link, a time-out, an unreadable response and a ``generic_nack`` are one exception,
  ``SmppError``; only a ``generic_nack`` contains its status, in the text.
* A refused bind (a wrong password) looks like an SMSC that never answers.
* It sends ``enquire_link`` every 30 s and waits 30 s for the answer, so a link that is cut silently
  is noticed after a minute; a submission without an answer ends it sooner.
* Its inbound queue drops the event of the end of a session when it is full: ``next()`` is drained
  without pause, and ``is_alive()`` is polled.
* A client that stops without ``unbind`` leaves its connection open for up to 30 s.
* It acknowledges a receipt to the SMSC as soon as it is queued here, so one can be lost with the
  process. Nothing depends on receipts alone: a step without one ends at its deadline.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Self

import smpp34

from aoi_events.channels.sms.numbers import source
from aoi_events.channels.sms.push import Push
from aoi_events.channels.sms.receipts import SmscReceipt, read_receipt
from aoi_events.channels.sms.settings import SmscSettings
from aoi_events.channels.sms.status import SYSTEM_ERROR, SubmitStatus, Submitted, submitted_of
from aoi_events.channels.sms.validity import relative_time
from aoi_events.errors import MalformedPdu, ProviderUnavailable
from aoi_events.platform.logs import get_logger

_USER_DATA_HEADER: Final = 0x40  # esm_class, SMPP 3.4, 5.2.12
_OCTETS: Final = 0x04  # data_coding: 8-bit binary, 5.2.19
_WITH_RECEIPT: Final = 0x01  # registered_delivery, 5.2.17
_LIVENESS_INTERVAL: Final = 5.0
_UNBIND_TIME: Final = 1.0
_NACK_STATUS: Final = re.compile(r"\(0x([0-9A-Fa-f]{8})\)$")

log = get_logger(__name__)


class SmppSession:
    """A bound transceiver; ``lost`` is done as soon as the session has ended, for any reason."""

    def __init__(
        self, name: str, settings: SmscSettings, client: smpp34.Client, smsc: smpp34.Smsc
    ) -> None:
        loop = asyncio.get_running_loop()
        self.lost: Final[asyncio.Future[None]] = loop.create_future()
        self._name = name
        self._settings = settings
        self._source = source(settings.source)
        self._client = client
        self._smsc = smsc
        self._received_at = loop.time()

    @classmethod
    async def bind(cls, name: str, settings: SmscSettings) -> Self:
        """Connect and bind. Raises ProviderUnavailable."""
        client = smpp34.Client(
            settings.host or "",
            settings.port,
            settings.system_id,
            settings.password.get_secret_value(),
            bind_type="TRX",
            system_type=settings.system_type,
            tls=settings.tls,
            window_size=settings.window,
            connect_timeout_ms=int(settings.connect_time * 1_000),
        )
        connecting = asyncio.ensure_future(client.connect())
        try:
            async with asyncio.timeout(settings.connect_time):
                smsc = await asyncio.shield(connecting)
        except (smpp34.SmppError, TimeoutError) as error:
            connecting.cancel()
            await client.stop()
            why = str(error) or "bind timed out"
            if "timed out" in why:
                why += " (a bind that the SMSC refuses looks the same: check system_id, password)"
            raise ProviderUnavailable(f"SMSC {name}: {why}") from None
        except asyncio.CancelledError:
            # The SMSC may have bound us already: unbind, or the unused session stays open there.
            with suppress(TimeoutError, smpp34.SmppError):
                async with asyncio.timeout(_UNBIND_TIME):
                    smsc = await connecting
                    await smsc.unbind()
            await client.stop()
            raise
        return cls(name, settings, client, smsc)

    def lose(self) -> None:
        """Use it no more."""
        if not self.lost.done():
            self.lost.set_result(None)

    async def end(self) -> None:
        """Unbind if the SMSC still answers, and stop; takes a second at most."""
        with suppress(TimeoutError, smpp34.SmppError):
            async with asyncio.timeout(_UNBIND_TIME):
                await self._smsc.unbind()
        await self._client.stop()

    async def submit(self, push: Push, user_data: bytes) -> Submitted:
        """Submit one short message of a push; takes at most ``response_time`` seconds."""
        loop = asyncio.get_running_loop()
        submitted_at = loop.time()
        response = asyncio.ensure_future(
            self._smsc.submit_sm(
                push.to.value,
                user_data,
                source_addr=self._source.value,
                source_addr_ton=self._source.ton,
                source_addr_npi=self._source.npi,
                dest_addr_ton=push.to.ton,
                dest_addr_npi=push.to.npi,
                esm_class=_USER_DATA_HEADER,
                data_coding=_OCTETS,
                registered_delivery=_WITH_RECEIPT,
                validity_period=relative_time(push.expires_at - submitted_at),
            )
        )
        either: set[asyncio.Future[Any]] = {response, self.lost}
        try:
            await asyncio.wait(
                either,
                timeout=self._settings.response_time,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if response.done():
                return await self._read(response)
        finally:
            if not response.done():
                response.cancel()
        if self.lost.done():
            return Submitted(
                SubmitStatus.UNANSWERED, detail="the link was lost before the response"
            )
        waited = f"no response within {self._settings.response_time:g} s"
        if self._received_at < submitted_at:
            # Nothing was received since: the link is dead, not only this message lost.
            log.warning("smsc_link_silent", smsc=self._name, why=waited)
            self.lose()
        return Submitted(SubmitStatus.UNANSWERED, detail=waited)

    async def listen(self, on_receipt: Callable[[SmscReceipt], Awaitable[None]]) -> None:
        """Pass every receipt to ``on_receipt`` until the session ends.

        While ``on_receipt`` waits, nothing is drained: then the library refuses further receipts,
        and the SMSC sends them again.
        """
        event = asyncio.ensure_future(self._smsc.next())
        try:
            while True:
                either: set[asyncio.Future[Any]] = {event, self.lost}
                await asyncio.wait(
                    either, timeout=_LIVENESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                if self.lost.done():
                    return
                if event.done():
                    received = event.result()
                    if isinstance(received, smpp34.Disconnected):
                        return
                    event = asyncio.ensure_future(self._smsc.next())
                    self._received_at = asyncio.get_running_loop().time()
                    if (receipt := self._receipt_in(received)) is not None:
                        await on_receipt(receipt)
                elif not await self._client.is_alive():
                    return
        finally:
            event.cancel()
            with suppress(asyncio.CancelledError):
                await event

    async def _read(self, response: asyncio.Future[smpp34.SubmitSmResp]) -> Submitted:
        error = response.exception()
        if error is None:
            self._received_at = asyncio.get_running_loop().time()
            answer = response.result()
            return submitted_of(answer.command_status, answer.message_id)
        if not isinstance(error, smpp34.SmppError):
            raise error
        status = _NACK_STATUS.search(str(error))
        if status is None or int(status.group(1), 16) in (0, SYSTEM_ERROR):
            if not await self._client.is_alive():
                self.lose()  # so that the next submission does not use it
            return Submitted(SubmitStatus.UNANSWERED, detail="link lost, or an unreadable response")
        return submitted_of(int(status.group(1), 16), None)

    def _receipt_in(self, event: smpp34.DeliverSmEvent) -> SmscReceipt | None:
        try:
            receipt = read_receipt(
                event.esm_class, event.short_message, ((tlv.tag, tlv.value) for tlv in event.tlvs)
            )
        except MalformedPdu as error:
            log.warning("smsc_receipt_unreadable", smsc=self._name, error=str(error))
            return None
        if receipt is None:
            # A message from a telephone: nothing here reads those.
            log.debug("smsc_message_ignored", smsc=self._name)
        return receipt
