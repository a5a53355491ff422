"""Limits on items that are sent at once: in each lane, at each host, and in all.

Theory of operation. The first slot that a lane uses is its own; each further one is an *extra*
slot, and extra slots are a small part of all. So lanes without an answer take one slot each, and
leave the others to other lanes. Lanes whose last item had no answer use at most half of all slots
together. The same holds among the lanes of one host. Hosts that wait take turns, and so do the
lanes of each.

There is room for a number of items, those that wait included. A lane or host counts as slow if it
has given no slot back for a moment, or if its oldest item waits for several moments. One that is
slow may have as many items waiting as there is room left, and its other items have to go: so it
leaves half of the room to others, two leave a third, and so on. One that is busy but fast enough
keeps its items, however many there are.

The wait for a slot is no part of a request. So a slow provider is blamed for its own slowness only,
and no provider is blamed because the worker is busy.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

_EXTRA_PART: Final = 8
_ROOM: Final = 5
"""Items for each slot: enough to use all slots if a lane is slow."""
_PATIENCE: Final = 2.0
"""Seconds without a slot given back after which a lane or host counts as slow."""
_WAIT: Final = 5
"""So many times these seconds may items wait for a lane or host before it counts as slow."""


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


@dataclass(slots=True, eq=False)
class _Host:
    """The slots of one host, its lanes, and its items that wait, the oldest first; ``turns``: the
    lanes of these, in order; ``moved``: when a slot was given back last, or the first one taken.
    """

    name: str
    pool: _Pool
    moved: float = 0.0
    lanes: dict[str, _Lane] = field(default_factory=dict)
    waiting: OrderedDict[_Waiter, None] = field(default_factory=OrderedDict)
    turns: OrderedDict[str, _Lane] = field(default_factory=OrderedDict)


@dataclass(slots=True, eq=False)
class _Lane:
    """The slots in use of one lane, and its items that wait; as those of its host."""

    name: str
    host: _Host
    used: int = 0
    moved: float = 0.0
    waiting: deque[_Waiter] = field(default_factory=deque)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """An item that waits for a slot since a time: the future is done when it has one."""

    lane: _Lane
    since: float
    doubtful: bool
    admitted: asyncio.Future[None]


class ConcurrencyLimit:
    """Slots for items: at most ``each`` in one lane, ``each_host`` at one host, and ``overall``.

    ``each_host`` None: hosts have no limit of their own. ``patience``: seconds after which a lane
    or host that gives no slot back counts as slow; its items may wait five times as long.
    """

    def __init__(
        self,
        *,
        each: int,
        overall: int,
        each_host: int | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self.room: Final = _ROOM * overall
        """Items that may be here at once, those that wait included."""
        self._each: Final = each
        self._all: Final = _Pool.of(overall, each)
        self._each_host: Final = each_host or overall
        self._patience: Final = patience
        self._waiting = 0
        # Hosts and lanes exist as long as an item of theirs is sent, or waits. Hosts with items
        # that wait are in the order of their turns.
        self._hosts: Final[dict[str, _Host]] = {}
        self._turns: Final[OrderedDict[str, _Host]] = OrderedDict()

    @asynccontextmanager
    async def slot(
        self, lane: str, within: float, *, host: str = "", doubtful: bool = False
    ) -> AsyncIterator[bool]:
        """A slot in a lane while the block runs; False: none was free within so many seconds, or
        this item's lane or host is slow and takes too much room. ``host`` empty: the lane's own.
        ``doubtful``: the last item of the lane had no answer.
        """
        waiter = self._enter(self._lane(lane, host or lane), doubtful=doubtful)
        try:
            yield await self._admitted(waiter, within)
        finally:
            self._leave(waiter)

    async def _admitted(self, waiter: _Waiter, within: float) -> bool:
        until = monotonic() + within
        while not waiter.admitted.done():
            left = until - monotonic()
            if left <= 0 or self._must_go(waiter):
                return False
            # Unlike a time-out it does not cancel the future, which `_admit` may be about to set.
            await asyncio.wait([waiter.admitted], timeout=min(left, self._patience))
        return True

    def _must_go(self, waiter: _Waiter) -> bool:
        lane, host = waiter.lane, waiter.lane.host
        # A lane with a slot waits for its own items, unless its host has no slot at all.
        of_host = host.pool.used >= host.pool.most or (host.pool.used > 0 and not lane.used)
        return (lane.used > 0 and self._takes_too_much(lane)) or (
            of_host and self._takes_too_much(host)
        )

    def _takes_too_much(self, part: _Lane | _Host) -> bool:
        left, now = self.room - self._all.used - self._waiting, monotonic()
        return len(part.waiting) > left and (
            part.moved <= now - self._patience
            or next(iter(part.waiting)).since <= now - _WAIT * self._patience
        )

    def _lane(self, name: str, host_name: str) -> _Lane:
        if (host := self._hosts.get(host_name)) is None:
            host = _Host(host_name, _Pool.of(self._each_host, self._each))
            self._hosts[host_name] = host
        if (lane := host.lanes.get(name)) is None:
            lane = host.lanes[name] = _Lane(name, host)
        return lane

    def _enter(self, lane: _Lane, *, doubtful: bool) -> _Waiter:
        admitted = asyncio.get_running_loop().create_future()
        waiter = _Waiter(lane, monotonic(), doubtful, admitted)
        lane.waiting.append(waiter)
        lane.host.waiting[waiter] = None
        self._waiting += 1
        lane.host.turns.setdefault(lane.name, lane)
        self._turns.setdefault(lane.host.name, lane.host)
        self._admit([lane.host])
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        lane, host = waiter.lane, waiter.lane.host
        hosts = [host]
        if waiter.admitted.done():
            lane.used -= 1
            lane.moved = host.moved = monotonic()
            if not self._all.admits(extra=lane.used > 0, doubtful=waiter.doubtful):
                # Items of other hosts may wait for what becomes free.
                hosts = [*self._turns.values()]
            self._count(waiter, -1)
        else:
            lane.waiting.remove(waiter)
            self._not_waiting(waiter)
        self._admit(hosts)
        if not lane.used and not lane.waiting:
            del host.lanes[lane.name]
        if not host.lanes:
            del self._hosts[host.name]

    def _admit(self, hosts: Iterable[_Host]) -> None:
        """Give the items that wait at these hosts the slots that they may have."""
        for host in hosts:
            if self._all.used >= self._all.most:
                return
            while (lane := self._next(host)) is not None:
                waiter = lane.waiting.popleft()
                if not host.pool.used:
                    host.moved = monotonic()
                if not lane.used:
                    lane.moved = monotonic()
                self._count(waiter, 1)
                lane.used += 1
                waiter.admitted.set_result(None)
                self._not_waiting(waiter)

    def _next(self, host: _Host) -> _Lane | None:
        """The lane whose turn it is among those that may have a slot now."""
        if self._all.used >= self._all.most or host.pool.used >= host.pool.most:
            return None
        for lane in host.turns.values():
            if lane.used < self._each and self._admits(lane):
                return lane
        return None

    def _admits(self, lane: _Lane) -> bool:
        extra, doubtful = lane.used > 0, lane.waiting[0].doubtful
        return all(
            pool.admits(extra=extra, doubtful=doubtful) for pool in (self._all, lane.host.pool)
        )

    def _not_waiting(self, waiter: _Waiter) -> None:
        """One item does not wait any more: it is the turn of other lanes."""
        self._waiting -= 1
        lane, host = waiter.lane, waiter.lane.host
        del host.waiting[waiter]
        if lane.waiting:
            host.turns.move_to_end(lane.name)
        else:
            del host.turns[lane.name]
        if host.turns:
            self._turns.move_to_end(host.name)
        else:
            del self._turns[host.name]

    def _count(self, waiter: _Waiter, change: int) -> None:
        """Count a change of the slots in use, while the lane counts the other ones."""
        lane = waiter.lane
        for pool in (self._all, lane.host.pool):
            pool.count(change, extra=lane.used > 0, doubtful=waiter.doubtful)
