"""Requests to the workers over the broker, and their answers.

The gateway, the endpoint and publishers all ask through :class:`WorkerRpc`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import ValidationError

from aoi_events.contracts.answers import ANSWERS, AnyAnswer, RefusedV1
from aoi_events.contracts.requests import REQUESTS, AnyRequest
from aoi_events.errors import RequestRefused, UnexpectedAnswer
from aoi_events.ports.broker import Inbound, Outbound, Requester
from aoi_events.topology import REQUESTS as REQUESTS_EXCHANGE

_ROUTING_KEYS: Final = {contract: key for key, contract in REQUESTS.items()}
_NO_HEADERS: Final[Mapping[str, str]] = {}

A = TypeVar("A", bound=AnyAnswer)


class WorkerRpc:
    """Publishes requests to the workers and waits for each answer.

    ``timeout`` is the number of seconds to wait where a call passes no other.
    """

    def __init__(self, requester: Requester, *, timeout: float) -> None:
        self._requester = requester
        self._timeout = timeout

    async def ask(
        self,
        request: AnyRequest,
        expected: type[A],
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        timeout: float | None = None,
    ) -> A:
        """Send a request, and return its answer of the type ``expected``.

        Raises RequestRefused, RequestTimeout, PublishRefused, BrokerUnavailable, UnexpectedAnswer.
        """
        message = await self.call(
            routing_key(request), request.encode(), headers=headers, timeout=timeout
        )
        return read_answer(message, expected)

    async def call(
        self,
        name: str,
        body: bytes,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        timeout: float | None = None,
    ) -> Inbound:
        """Send an encoded request with the routing key ``name``, and return the answer unread.

        Raises RequestTimeout, PublishRefused, BrokerUnavailable.
        """
        request = Outbound(exchange=REQUESTS_EXCHANGE, routing_key=name, body=body, headers=headers)
        within = self._timeout if timeout is None else timeout
        return await self._requester.call(request, timeout=within)

    async def close(self) -> None:
        """Give up the reply address; requests without an answer raise BrokerUnavailable."""
        await self._requester.close()


class TooManyRequests(Exception):
    """The slots are taken, and as many requests wait for one as may."""


class RequestSlots:
    """Bounds requests: ``at_once`` of them run, ``waiting`` more queue for a slot in order.

    Enter it with ``async with``; raises TooManyRequests beyond both bounds.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._most = at_once + waiting
        self._free = asyncio.Semaphore(at_once)
        self._count = 0

    def __len__(self) -> int:
        """How many requests run or wait."""
        return self._count

    async def __aenter__(self) -> None:
        if self._count >= self._most:
            raise TooManyRequests
        self._count += 1
        try:
            await self._free.acquire()
        except BaseException:
            self._count -= 1
            raise

    async def __aexit__(self, *_error: object) -> None:
        self._count -= 1
        self._free.release()


def routing_key(request: AnyRequest) -> str:
    """The routing key of a request on the exchange of requests."""
    return _ROUTING_KEYS[type(request)]


def read_answer(message: Inbound, expected: type[A]) -> A:
    """Decode an answer; the AMQP property ``type`` names its contract.

    Raises RequestRefused when the server refused, and UnexpectedAnswer when there is no such
    contract, the body does not match it, or it is not of the type ``expected``.
    """
    contract = ANSWERS.get(message.type or "")
    if contract is None:
        raise UnexpectedAnswer(
            f"the AMQP property type of the answer is {message.type!r}, which this version does "
            "not know; upgrade aoi-events here, or find out who else answers"
        )
    try:
        answer = contract.decode(message.body)
    except ValidationError as error:
        fields = {".".join(map(str, each["loc"])) for each in error.errors(include_input=False)}
        raise UnexpectedAnswer(
            f"the body of the answer is no {message.type}: wrong at {', '.join(sorted(fields))}"
        ) from None
    if isinstance(answer, RefusedV1):
        raise RequestRefused(answer.code, answer.message, field=answer.field)
    if not isinstance(answer, expected):
        raise UnexpectedAnswer(f"{expected.__name__} was due, and {message.type} came")
    return answer
