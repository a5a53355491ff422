"""Base classes of all contracts: frozen, versioned, and strict about what they accept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetPydanticSchema, WithJsonSchema
from pydantic_core.core_schema import int_schema

MAX_BODY = 512 * 1024
"""Largest request body in octets: 1,000 tokens of 100 characters and 4 KiB of content fit well."""

_HIDDEN: Final = frozenset(
    {"secret", "secret_hash", "token", "tokens", "data", "body", "parameters"}
)
"""Fields that hold secrets, tokens or content, and so never show in logs or tracebacks."""


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its offset, for example 2026-11-23T12:00:00Z")
    return value.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_utc), Field(strict=False)]
"""A point in time: RFC 3339 with offset, stored in UTC."""


VersionOne = Annotated[
    Literal[1],
    # A literal alone would take what equals it: true, and 1.0.
    GetPydanticSchema(lambda _source, _handler: int_schema(strict=True, ge=1, le=1)),
    WithJsonSchema({"const": 1, "type": "integer"}),
]
"""The version of every contract so far: the integer 1, and nothing that only equals it."""


BUILT_WHEN_USED: Final = ConfigDict(defer_build=True)
"""Pydantic builds the validator of a model with its first use: a command uses few of 90."""


class Contract(BaseModel):
    """A frozen value that crosses the wire; unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, **BUILT_WHEN_USED
    )

    def encode(self) -> bytes:
        """UTF-8 JSON without fields that are absent."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)

    @classmethod
    def decode(cls, body: bytes | str) -> Self:
        """The value in ``body``. Raises pydantic's ValidationError."""
        return cls.model_validate_json(body)

    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields of this contract that hold secrets under a harmless name."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, ("…" if name in _HIDDEN | self.hidden else value)


class Tolerant(Contract):
    """A value that ignores unknown fields, so that old readers survive new writers."""

    model_config = ConfigDict(extra="ignore")


class Request(Contract):
    """Base of every request: the version is required, unknown fields are refused."""

    version: VersionOne = Field(description="Version of this contract; required.")


class Answer(Tolerant):
    """Base of every answer."""

    version: VersionOne = 1
