"""Sends the requests of Application Servers to the workers, in the sender's name."""

from __future__ import annotations

from typing import TypeVar

from aoi_events.contracts.answers import AnyAnswer
from aoi_events.contracts.requests import (
    CancelNotificationV1,
    QueryNotificationV1,
    SendNotificationV1,
)
from aoi_events.contracts.senders import SENDER_HEADER
from aoi_events.endpoint.refusals import HttpRefusal, of_code
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import (
    ErrorCode,
    InfrastructureError,
    PublishRefused,
    RequestRefused,
    RequestTimeout,
    UnexpectedAnswer,
)
from aoi_events.platform.logs import SeldomLog, get_logger
from aoi_events.platform.worker_rpc import RequestSlots, TooManyRequests, WorkerRpc, routing_key
from aoi_events.ports.broker import Requester
from aoi_events.ports.clock import Dice

_log = get_logger(__name__)

A = TypeVar("A", bound=AnyAnswer)
_Request = SendNotificationV1 | CancelNotificationV1 | QueryNotificationV1


class SenderRequests:
    """Requests of all senders, a bounded number of them at once."""

    def __init__(self, requester: Requester, settings: EndpointSettings, dice: Dice) -> None:
        self._rpc = WorkerRpc(requester, timeout=settings.request_within)
        self._slots = RequestSlots(
            at_once=settings.requests_at_once, waiting=settings.requests_waiting
        )
        self._dice = dice
        self._seldom = SeldomLog(_log)

    @property
    def waiting(self) -> int:
        """Requests without an answer so far."""
        return len(self._slots)

    async def ask(self, sender: str, request: _Request, expected: type[A]) -> A:
        """Send a request of ``sender``, and return its answer.

        Raises HttpRefusal: what a worker refused, and 503 when no answer came in time. The request
        may have taken effect then; repeating the same one is harmless.
        """
        try:
            async with self._slots:
                return await self._rpc.ask(request, expected, headers={SENDER_HEADER: sender})
        except TooManyRequests:
            raise self._unavailable("too many requests wait for an answer") from None
        except (InfrastructureError, RequestTimeout) as error:
            name = routing_key(request)
            self._seldom.warning("request_not_answered", kind=name, request=name, error=str(error))
            match error:
                case RequestTimeout():
                    reason = "the workers did not answer in time"
                case PublishRefused():
                    reason = "the broker did not accept the request"
                case _:
                    reason = "the broker is away"
            raise self._unavailable(f"{reason}; try again") from None
        except RequestRefused as refused:
            wait = self._retry_after()
            raise of_code(refused.code, refused.message, field=refused.field, wait=wait) from None
        except UnexpectedAnswer as error:
            _log.error("unexpected_answer", request=routing_key(request), error=str(error))
            raise of_code(ErrorCode.INTERNAL, "") from None

    def _retry_after(self) -> int:
        """Seconds until a sender should try again, random so that not all come at once."""
        return 5 + int(self._dice.jitter() * 10)

    def _unavailable(self, message: str) -> HttpRefusal:
        return of_code(ErrorCode.UNAVAILABLE, message, wait=self._retry_after())
