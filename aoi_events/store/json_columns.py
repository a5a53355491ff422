"""Values that are stored as JSON text in one column; fields that newer code adds are ignored.

Steps, ledgers and stories are read and written as a whole and never searched, so they need no
tables. Fields with their default value are left out: most of a fresh step's are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final, TypeVar

from pydantic_core import PydanticSerializationError, from_json, to_json

from aoi_events.contracts.content import Content, ContentEncryption
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients.client import Presence, SessionReplaced
from aoi_events.domain.delivery.evidence import StepOutcome
from aoi_events.domain.delivery.ledger import EMPTY_LEDGER, Charge, ChargeState, Ledger
from aoi_events.domain.delivery.state import StepState, StoryEntry
from aoi_events.domain.notifications import RejectedEntry
from aoi_events.domain.planning.plans import Step

R = TypeVar("R")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Final = {kind.value: kind for kind in OutcomeKind}
_CHARGES: Final = {state.value: state for state in ChargeState}
_REASONS: Final = {reason.value: reason for reason in Reason}


def _encode(value: object) -> str:
    try:
        return to_json(value).decode()
    except PydanticSerializationError:
        # A lone surrogate, which is no UTF-8; the slower encoder escapes it.
        return json.dumps(value, separators=(",", ":"))


def _decode(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970 in UTC: exact, and what databases compare fastest."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int) -> datetime:
    """The time of :func:`to_micros`, in UTC."""
    return EPOCH + timedelta(microseconds=micros)


def _micros(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)


def _time(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


# --- steps ----------------------------------------------------------------------------------------


def pack_steps(steps: tuple[StepState, ...]) -> str:
    """A delivery's steps as JSON."""
    return _encode([_pack_step(state) for state in steps]) if steps else "[]"


def unpack_steps(text: str) -> tuple[StepState, ...]:
    """The steps that :func:`pack_steps` packed."""
    return tuple(map(_unpack_step, _decode(text))) if text != "[]" else ()


def _pack_step(state: StepState) -> dict[str, object]:
    step = state.step
    packed: dict[str, object] = {"channel": step.channel, "ack_within": step.ack_within}
    _put(packed, "start_after", step.start_after)
    _put(packed, "wake_up", step.wake_up or None)
    _put(packed, "connected", step.connected or None)
    _put(packed, "cost", step.cost or None)
    _put(packed, "attempt", state.attempt or None)
    _put(packed, "first_attempt", state.first_attempt or None)
    _put(packed, "retries", state.retries or None)
    _put(packed, "first_started_at", _micros(state.first_started_at))
    _put(packed, "started_at", _micros(state.started_at))
    _put(packed, "retry_at", _micros(state.retry_at))
    _put(packed, "over", state.over)
    outcome = state.outcome
    if outcome is not None:
        packed["outcome"] = [
            outcome.attempt,
            outcome.kind,
            to_micros(outcome.at),
            outcome.detail,
            outcome.retry_after,
        ]
    return packed


def _unpack_step(packed: dict[str, Any]) -> StepState:
    get = packed.get
    outcome, over = get("outcome"), get("over")
    return StepState(
        Step(
            packed["channel"],
            get("start_after"),
            packed["ack_within"],
            get("wake_up", False),
            get("connected", False),
            get("cost", 0.0),
        ),
        get("attempt", 0),
        get("first_attempt", 0),
        get("retries", 0),
        _time(get("first_started_at")),
        _time(get("started_at")),
        _time(get("retry_at")),
        None
        if outcome is None
        else StepOutcome(
            outcome[0], _KINDS[outcome[1]], from_micros(outcome[2]), outcome[3], outcome[4]
        ),
        None if over is None else _REASONS[over],
    )


def _put(packed: dict[str, object], name: str, value: object) -> None:
    if value is not None:
        packed[name] = value


# --- ledger ---------------------------------------------------------------------------------------


def pack_ledger(ledger: Ledger) -> str:
    """A delivery's ledger as JSON; most are empty, because their channels cost nothing."""
    if not ledger.charges and not ledger.final:
        return "[]"
    charges = ([c.step, c.attempt, c.channel, c.cost, c.state] for c in ledger.charges)
    return _encode([ledger.final, *charges])


def unpack_ledger(text: str) -> Ledger:
    """The ledger that :func:`pack_ledger` packed."""
    if text == "[]":
        return EMPTY_LEDGER
    final, *charges = _decode(text)
    return Ledger(final, tuple(_unpack_charge(*charge) for charge in charges))


def _unpack_charge(step: int, attempt: int, channel: str, cost: float, state: str) -> Charge:
    return Charge(step, attempt, channel, cost, _CHARGES[state])


# --- story ----------------------------------------------------------------------------------------


def pack_story(story: tuple[StoryEntry, ...]) -> str:
    """A delivery's story as JSON."""
    entries = []
    for entry in story:
        packed: dict[str, object] = {"at": to_micros(entry.at), "what": entry.what}
        _put(packed, "step", entry.step)
        _put(packed, "attempt", entry.attempt)
        _put(packed, "channel", entry.channel)
        _put(packed, "detail", entry.detail)
        _put(packed, "cost", entry.cost or None)
        entries.append(packed)
    return _encode(entries)


def unpack_story(text: str) -> tuple[StoryEntry, ...]:
    """The story that :func:`pack_story` packed."""
    return tuple(
        StoryEntry(
            from_micros(packed["at"]),
            packed["what"],
            packed.get("step"),
            packed.get("attempt"),
            packed.get("channel"),
            packed.get("detail"),
            packed.get("cost", 0.0),
        )
        for packed in _decode(text)
    )


# --- notifications --------------------------------------------------------------------------------


def pack_content(content: Content) -> str:
    """A notification's content as JSON."""
    packed = [content.data, content.encoding, content.type]
    how = content.encryption
    return _encode(packed if how is None else [*packed, how.coding, how.encryption, how.crypto_key])


def unpack_content(text: str) -> Content:
    """The content that :func:`pack_content` packed; it was validated when it was accepted."""
    data, encoding, type_, *how = _decode(text)
    encryption = None
    if how:
        names = ("coding", "encryption", "crypto_key")
        encryption = ContentEncryption.model_construct(**dict(zip(names, how, strict=False)))
    return Content.model_construct(data=data, encoding=encoding, type=type_, encryption=encryption)


def unpack_pairs(text: str) -> tuple[tuple[int, str], ...]:
    """(index, delivery ID) pairs from JSON."""
    return tuple((index, identifier) for index, identifier in _decode(text))


# --- records whose fields are plain ---------------------------------------------------------------


def flat(record: type[R]) -> tuple[Callable[[R], str], Callable[[str], R]]:
    """How a record whose fields are plain is packed, as a JSON array of them, and unpacked."""
    values = attrgetter(*(each.name for each in fields(record)))  # type: ignore[arg-type]
    return lambda one: _encode(values(one)), lambda text: record(*_decode(text))


def flat_tuple(
    record: type[R],
) -> tuple[Callable[[tuple[R, ...]], str], Callable[[str], tuple[R, ...]]]:
    """How any number of such records is packed and unpacked."""
    values = attrgetter(*(each.name for each in fields(record)))  # type: ignore[arg-type]
    return (
        lambda every: _encode([values(one) for one in every]),
        lambda text: tuple(record(*one) for one in _decode(text)),
    )


# --- how to pack and to unpack --------------------------------------------------------------------

STEPS: Final = (pack_steps, unpack_steps)
LEDGER: Final = (pack_ledger, unpack_ledger)
STORY: Final = (pack_story, unpack_story)
CONTENT: Final = (pack_content, unpack_content)
PAIRS: Final = (_encode, unpack_pairs)
REJECTED: Final = flat_tuple(RejectedEntry)
PRESENCE: Final = flat(Presence)
PRESENCES: Final = flat_tuple(Presence)
REPLACED: Final = flat(SessionReplaced)
OBJECT: Final = (_encode, _decode)
"""A flat object: parameters, headers."""
