"""From the answer's message to what was asked for, or to the error that it says."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from aoi_events.contracts.answers import ANSWERS, AnyAnswer, RefusedV1
from aoi_events.errors import RequestRefused, UnexpectedAnswer
from aoi_events.ports.broker import Inbound

__all__ = ["read_answer"]

A = TypeVar("A", bound=AnyAnswer)


def read_answer(message: Inbound, expected: type[A]) -> A:
    """The answer in ``message``, whose contract the AMQP property ``type`` names.

    Raises RequestRefused when the server refused, and UnexpectedAnswer when there is no such
    contract, the body does not keep it, or it answers something else.
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
