"""Limits on items that are sent at once: in each lane, at each host, and in all.

Theory of operation. The first slot that a lane uses is its own; each further one is an *extra*
slot, and extra slots are a small part of all. So lanes without an answer take one slot each, and
leave the others to other lanes. Lanes whose last item had no answer use at most half of all slots
together. The same holds among the lanes of one host. Lanes that wait take turns.

The wait for a slot is no part of a request. So a slow provider is blamed for its own slowness only,
and no provider is blamed because the worker is busy.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

_EXTRA_PART: Final = 8
_WAITING_AT_EASE: Final = 2
"""So many items may wait for each slot before lanes have to share the room to wait."""
_WAITING_IN_LANE: Final = 4
"""So many items of one lane may wait after that."""


@dataclass(slots=True)
class _Pool:
    """The slots of one host, or of all: their limits and their use."""

    most: int
    most_extra: int
    used: int = 0
    extra: int = 0
    doubtful: int = 0

    @classmethod
    def of(cls, most: int, each: int) -> _Pool:
        """A pool of so many slots; one lane alone may use ``each`` of them."""
        return cls(most, most_extra=max(most // _EXTRA_PART, each - 1))

    def admits(self, *, extra: bool, doubtful: bool) -> bool:
        """Whether there is a slot for one more item."""
        return (
            self.used < self.most
            and (not extra or self.extra < self.most_extra)
            and (not doubtful or self.doubtful < max(self.most // 2, 1))
        )

    def count(self, change: int, *, extra: bool, doubtful: bool) -> None:
        """Count an item that takes a slot (1), or gives it back (-1)."""
        self.used += change
        self.extra += change * extra
        self.doubtful += change * doubtful


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """An item that waits for a slot: the future is done when it has one."""

    lane: str
    host: str
    doubtful: bool
    admitted: asyncio.Future[None]


@dataclass(slots=True)
class _Lane:
    """The slots in use of one lane, and its items that wait."""

    used: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)


class ConcurrencyLimit:
    """Slots for items: at most ``each`` in one lane, ``each_host`` at one host, and ``overall``.

    ``each_host`` None: hosts have no limit of their own.
    """

    def __init__(self, *, each: int, overall: int, each_host: int | None = None) -> None:
        self._each: Final = each
        self._all: Final = _Pool.of(overall, each)
        self._each_host: Final = each_host or overall
        self._waiting = 0
        # Lanes and hosts exist as long as an item of theirs is sent, or waits. Lanes with items
        # that wait are in the order of their turns.
        self._lanes: Final[dict[str, _Lane]] = {}
        self._hosts: Final[dict[str, _Pool]] = {}
        self._turns: Final[OrderedDict[str, None]] = OrderedDict()

    @asynccontextmanager
    async def slot(
        self, lane: str, within: float, *, host: str = "", doubtful: bool = False
    ) -> AsyncIterator[bool]:
        """A slot in a lane while the block runs; False: none was free within so many seconds, or
        too many items wait. ``doubtful``: the last item of the lane had no answer.
        """
        waiter = _Waiter(lane, host, doubtful, asyncio.get_running_loop().create_future())
        if not self._enter(waiter):
            yield False
            return
        try:
            if not waiter.admitted.done():
                # Unlike a time-out it does not cancel the future, which `_admit` may be about to
                # set.
                await asyncio.wait([waiter.admitted], timeout=within)
        except BaseException:
            self._leave(waiter)
            raise
        if not waiter.admitted.done():
            self._leave(waiter)
            yield False
            return
        try:
            yield True
        finally:
            self._leave(waiter)

    def _enter(self, waiter: _Waiter) -> bool:
        lane = self._lanes.setdefault(waiter.lane, _Lane())
        crowded = self._waiting >= _WAITING_AT_EASE * self._all.most
        if crowded and len(lane.waiting) >= _WAITING_IN_LANE:
            return False
        lane.waiting.append(waiter)
        self._waiting += 1
        self._turns.setdefault(waiter.lane)
        self._admit([waiter.lane])
        return True

    def _leave(self, waiter: _Waiter) -> None:
        lane = self._lanes[waiter.lane]
        if waiter.admitted.done():
            lane.used -= 1
            self._count(waiter, lane, -1)
            self._admit([*self._turns])
        else:
            lane.waiting.remove(waiter)
            self._not_waiting(waiter.lane, lane)
        if not lane.used and not lane.waiting:
            del self._lanes[waiter.lane]
        if not self._host(waiter.host).used:
            del self._hosts[waiter.host]

    def _admit(self, names: Iterable[str]) -> None:
        """Give the items that wait in these lanes the slots that they may have."""
        full: set[tuple[str, bool, bool]] = set()
        for name in names:
            lane = self._lanes[name]
            while lane.waiting and lane.used < self._each:
                waiter, extra = lane.waiting[0], lane.used > 0
                # The same holds for all lanes of the host, of which there may be many.
                kind = (waiter.host, extra, waiter.doubtful)
                if kind in full:
                    break
                pools = (self._all, self._host(waiter.host))
                if not all(pool.admits(extra=extra, doubtful=waiter.doubtful) for pool in pools):
                    full.add(kind)
                    break
                lane.waiting.popleft()
                self._count(waiter, lane, 1)
                lane.used += 1
                waiter.admitted.set_result(None)
                self._not_waiting(name, lane)

    def _not_waiting(self, name: str, lane: _Lane) -> None:
        """One item of the lane does not wait any more: it is the turn of other lanes."""
        self._waiting -= 1
        if lane.waiting:
            self._turns.move_to_end(name)
        else:
            del self._turns[name]

    def _count(self, waiter: _Waiter, lane: _Lane, change: int) -> None:
        """Count a change of the slots in use, while ``lane`` counts the other ones."""
        for pool in (self._all, self._host(waiter.host)):
            pool.count(change, extra=lane.used > 0, doubtful=waiter.doubtful)

    def _host(self, name: str) -> _Pool:
        if name not in self._hosts:
            self._hosts[name] = _Pool.of(self._each_host, self._each)
        return self._hosts[name]
