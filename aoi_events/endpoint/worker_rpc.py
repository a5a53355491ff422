"""Puts what senders ask to the workers, in the sender's name, and brings the answers back."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pydantic import ValidationError

from aoi_events.contracts.answers import ANSWERS, AnyAnswer, RefusedV1
from aoi_events.contracts.requests import (
    CancelNotificationV1,
    QueryNotificationV1,
    SendNotificationV1,
)
from aoi_events.contracts.senders import SENDER_HEADER
from aoi_events.endpoint.refusals import HttpRefusal, of_code
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import ErrorCode, InfrastructureError, RequestTimeout
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Outbound, Requester
from aoi_events.ports.clock import Dice
from aoi_events.topology import REQUESTS

__all__ = ["Desk"]

_log = get_logger(__name__)

A = TypeVar("A", bound=AnyAnswer)
_Question = SendNotificationV1 | CancelNotificationV1 | QueryNotificationV1

_NAMES: dict[type[_Question], str] = {
    SendNotificationV1: "notification.send",
    CancelNotificationV1: "notification.cancel",
    QueryNotificationV1: "notification.status",
}


class Desk:
    """Requests of all senders, a bounded number of them at once."""

    def __init__(self, requester: Requester, settings: EndpointSettings, dice: Dice) -> None:
        self._requester = requester
        self._settings = settings
        self._dice = dice
        self._turns = asyncio.Semaphore(settings.requests_at_once)
        self._count = 0

    @property
    def waiting(self) -> int:
        """Requests that have no answer yet."""
        return self._count

    async def ask(self, sender: str, request: _Question, wanted: type[A]) -> A:
        """The answer to a request of ``sender``.

        Raises HttpRefusal: what a worker refused, and 503 when nobody answered in time; the request
        may have taken effect then, and repeating the same one is harmless.
        """
        if self._count >= self._settings.requests_at_once + self._settings.requests_waiting:
            raise self._later("too many requests wait for an answer")
        self._count += 1
        try:
            async with self._turns:
                return await self._ask(sender, request, wanted)
        finally:
            self._count -= 1

    async def _ask(self, sender: str, request: _Question, wanted: type[A]) -> A:
        name = _NAMES[type(request)]
        message = Outbound(
            exchange=REQUESTS,
            routing_key=name,
            body=request.encode(),
            headers={SENDER_HEADER: sender},
        )
        try:
            answer = await self._requester.call(message, timeout=self._settings.request_within)
        except (InfrastructureError, RequestTimeout) as error:
            _log.warning("workers_silent", request=name, error=str(error))
            raise self._later("no answer in time; try again") from None
        try:
            read = ANSWERS[answer.type or ""].decode(answer.body)
        except (KeyError, ValidationError):
            read = None
        if isinstance(read, wanted):
            return read
        if isinstance(read, RefusedV1):
            raise of_code(read.code, read.message, field=read.field, wait=self.pause())
        _log.error("answer_of_another_kind", request=name, type=answer.type)
        raise of_code(ErrorCode.INTERNAL, "")

    def pause(self) -> int:
        """Seconds after which a sender should try again: spread, so that not all come at once."""
        return 5 + int(self._dice.jitter() * 10)

    def _later(self, message: str) -> HttpRefusal:
        return of_code(ErrorCode.UNAVAILABLE, message, wait=self.pause())
