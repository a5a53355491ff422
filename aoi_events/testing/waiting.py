"""Wait for what a test expects: by signals, with a deadline and a detailed failure."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast, get_args, overload

from pydantic import BaseModel

from aoi_events.client.core.events import ClientEvent
from aoi_events.contracts.answers import DeliveryStatus, Hop
from aoi_events.contracts.events import (
    EVENT_KINDS,
    ApplicationChanged,
    ChannelChanged,
    ClientChanged,
    CloudEvent,
    DeliveryChanged,
    NotificationAccepted,
)
from aoi_events.contracts.states import DeliveryState
from aoi_events.testing.diary import Diary, DidNotHappen
from aoi_events.testing.limits import WITHIN

E = TypeVar("E")
T = TypeVar("T")

_LOOK_AGAIN: Final = 0.05
"""Seconds between polls of a condition, which may read what no event announces."""

_DATA: Final[dict[str, type[BaseModel]]] = {
    "client": ClientChanged,
    "application": ApplicationChanged,
    "channel": ChannelChanged,
    "notification": DeliveryChanged,
    "notification.accepted": NotificationAccepted,
}
"""The data of events: by subject, and by kind where that differs."""
_DEVICE_EVENTS: Final = frozenset(get_args(ClientEvent))


class WaitFor:
    """See the fixture ``wait_for``; ``status`` asks the server for the state of a notification."""

    def __init__(
        self, diary: Diary, status: Callable[[str], Awaitable[list[DeliveryStatus]]]
    ) -> None:
        self._diary = diary
        self._status = status

    @overload
    async def __call__(
        self, what: str, *, within: float = WITHIN, **matching: object
    ) -> CloudEvent: ...
    @overload
    async def __call__(self, what: type[E], *, within: float = WITHIN, **matching: object) -> E: ...
    @overload
    async def __call__(self, what: Callable[[], Awaitable[T]], *, within: float = WITHIN) -> T: ...
    @overload
    async def __call__(self, what: Callable[[], T], *, within: float = WITHIN) -> T: ...
    @overload
    async def __call__(self, what: Awaitable[T], *, within: float = WITHIN) -> T: ...
    async def __call__(self, what: Any, *, within: float = WITHIN, **matching: object) -> object:
        """Wait for an event, a condition or anything awaitable, ``within`` seconds.

        * ``wait_for("notification.delivered", notification="n1")``: the event of the server whose
          data is so; one that came before counts, each one once.
        * ``wait_for(Connected, device="phone")``: the same for an event of a device
          (:mod:`aoi_events.client.core.events`).
        * ``wait_for(lambda: orders.paid)``: the first value that is true.
        * ``wait_for(queue.get())``: its result.

        Raises DidNotHappen, an AssertionError that tells what was seen instead; ValueError for an
        event or a field that does not exist.
        """
        if isinstance(what, str):
            _check_kind(what, matching)
            return await self._event(what, matching, within)
        if isinstance(what, type) and what in _DEVICE_EVENTS:
            _check_fields(what.__name__, _fields(what) | {"device"}, matching)
            return await self._event(what, matching, within)
        if matching:
            raise ValueError(f"{', '.join(matching)}: only events are selected by fields")
        if inspect.isawaitable(what):
            return await self._awaited(what, within)
        if callable(what):
            return await self._condition(what, within)
        raise ValueError(f"wait for an event, a condition or an awaitable; not for {what!r}")

    async def state(
        self, notification: str, state: DeliveryState | str, *, within: float = WITHIN
    ) -> list[DeliveryStatus]:
        """Wait until every delivery of the notification is in ``state``; return their statuses.

        ``state`` is a DeliveryState, its name, or ``terminal`` for any end. Raises DidNotHappen
        with the stories of its deliveries.
        """
        wanted = None if state == "terminal" else DeliveryState(state)

        def reached(found: list[DeliveryStatus]) -> list[DeliveryStatus]:
            if all(e.state.terminal if wanted is None else e.state is wanted for e in found):
                return found
            return []

        return await self._known(notification, reached, f"was not {wanted or 'terminal'}", within)

    async def hop(self, notification: str, what: str, *, within: float = WITHIN) -> Hop:
        """Wait until the story of a delivery has a hop of that name (``started``, ``refused``, …).

        Returns the last such hop. Raises DidNotHappen with the stories as they are.
        """

        def reached(found: list[DeliveryStatus]) -> Hop | None:
            hops = [hop for each in found for hop in each.story if hop.what == what]
            return hops[-1] if hops else None

        return await self._known(notification, reached, f"had no hop {what!r}", within)

    async def _known(
        self,
        notification: str,
        reached: Callable[[list[DeliveryStatus]], T | None],
        what: str,
        within: float,
    ) -> T:
        found: list[DeliveryStatus] = []

        async def look() -> T | None:
            found[:] = await self._status(notification)
            return reached(found)

        try:
            result: T = await self._condition(look, within)
        except DidNotHappen:
            self._diary.check()
            raise DidNotHappen(
                f"{notification!r} {what} within {within:g} s{_stories(found)}{self._diary.seen()}"
            ) from None
        return result

    async def _event(self, what: Any, matching: dict[str, object], within: float) -> object:
        def found() -> object | None:
            for entry in self._diary.entries:
                if not entry.awaited and _matches(entry.who, entry.event, what, matching):
                    entry.awaited = True
                    return entry.event
            return None

        name = what if isinstance(what, str) else what.__name__
        condition = "".join(f" {key}={value}" for key, value in matching.items())
        return await self._diary.find(found, what=f"{name}{condition}", within=within)

    async def _condition(self, condition: Callable[[], Any], within: float) -> Any:
        value: Any = None
        try:
            async with asyncio.timeout(within) as limit:
                while True:
                    value = condition()
                    if inspect.isawaitable(value):
                        value = await value
                    if value:
                        return value
                    try:
                        async with asyncio.timeout(_LOOK_AGAIN):
                            await self._diary.changed()
                    except TimeoutError:
                        continue
        except TimeoutError:
            if not limit.expired():
                raise
        raise DidNotHappen(
            f"{_source(condition)} was {value!r} for {within:g} s{self._diary.seen()}"
        )

    async def _awaited(self, what: Awaitable[T], within: float) -> T:
        try:
            async with asyncio.timeout(within) as limit:
                return await what
        except TimeoutError:
            if not limit.expired():
                raise
        name = getattr(what, "__qualname__", repr(what))
        raise DidNotHappen(f"{name} took longer than {within:g} s{self._diary.seen()}")


def _matches(who: str, event: object, what: Any, matching: dict[str, object]) -> bool:
    data: object
    if isinstance(what, str):
        if not isinstance(event, CloudEvent) or event.kind != what:
            return False
        data = event.data
    elif isinstance(event, what):
        data = event
    else:
        return False
    return all(
        who == value if key == "device" else getattr(data, key, None) == value
        for key, value in matching.items()
    )


def _check_kind(kind: str, matching: dict[str, object]) -> None:
    if kind not in EVENT_KINDS:
        raise ValueError(f"there is no event {kind!r}; there are {', '.join(EVENT_KINDS)}")
    model = _DATA.get(kind) or _DATA[kind.partition(".")[0]]
    _check_fields(kind, set(model.model_fields) - {"about"}, matching)


def _fields(event: Any) -> set[str]:
    return set(cast("dict[str, object]", event.__dataclass_fields__))


def _check_fields(name: str, known: set[str], matching: dict[str, object]) -> None:
    if unknown := sorted(set(matching) - known):
        raise ValueError(f"{name} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")


def _source(condition: Callable[[], object]) -> str:
    """The source text of a condition, where it is available."""
    try:
        lines = [line.strip() for line in inspect.getsource(condition).splitlines()]
    except (OSError, TypeError):
        return getattr(condition, "__qualname__", repr(condition))
    return " ".join(lines) if len(lines) <= 3 else getattr(condition, "__qualname__", lines[0])


def _stories(found: list[DeliveryStatus]) -> str:
    if not found:
        return "; the server knows no delivery of it"
    lines = ["; its deliveries:"]
    for each in found:
        lines.append(
            f"  {each.delivery} is {each.state}" + (f" ({each.reason})" if each.reason else "")
        )
        for hop in each.story:
            parts = (hop.what, hop.channel, hop.detail)
            after = (hop.at - each.accepted_at).total_seconds()
            lines.append(f"    {after:8.3f} s  {'  '.join(part for part in parts if part)}")
    return "\n".join(lines)
