"""The events of a test in order, with a signal at every entry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Final, TypeAlias, TypeVar

from aoi_events.client.core.events import ClientEvent
from aoi_events.contracts.events import CloudEvent

T = TypeVar("T")

Happening: TypeAlias = CloudEvent | ClientEvent

_SHOWN: Final = 25
"""Entries that a failure shows."""


class DidNotHappen(AssertionError):
    """The awaited event did not happen in time; the message lists what was seen instead."""


@dataclass(eq=False, slots=True)
class Entry:
    """``event`` came from ``who`` (``AOI Server``, or a device's name), ``after`` seconds.

    ``awaited``: a test waited for it and got it.
    """

    after: float
    who: str
    event: Happening
    awaited: bool = False

    def __str__(self) -> str:
        return f"{self.after:8.3f} s  {self.who:<12} {_told(self.event)}"


class Diary:
    """Holds every event of a server and its devices; each new one wakes those who wait."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self.entries: list[Entry] = []

    def note(self, who: str, event: Happening) -> None:
        """Enter an event."""
        self.entries.append(Entry(time.monotonic() - self._began, who, event))
        self.touch()

    def touch(self) -> None:
        """Wake those who wait, because something changed that is no event."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def fail(self, error: BaseException) -> None:
        """Fail those who wait, because the server ended."""
        self._failure = error
        self.touch()

    async def changed(self) -> None:
        """Return at the next entry or touch. Raises DidNotHappen once the server has ended."""
        if self._failure is None:
            await self._changed.wait()
        self.check()

    def check(self) -> None:
        """Raises DidNotHappen once the server has ended."""
        if self._failure is not None:
            raise DidNotHappen(
                f"the AOI Server ended ({type(self._failure).__name__}: {self._failure})"
            ) from self._failure

    async def find(self, found: Callable[[], T | None], *, what: str, within: float) -> T:
        """Call ``found`` at every entry, and return its result as soon as that is not None.

        Raises DidNotHappen after ``within`` seconds.
        """
        try:
            async with asyncio.timeout(within) as limit:
                while (result := found()) is None:
                    await self.changed()
                return result
        except TimeoutError:
            if not limit.expired():
                raise
        raise DidNotHappen(f"{what} did not happen within {within:g} s{self.seen()}")

    def seen(self) -> str:
        """The last entries as text for a failure."""
        if not self.entries:
            return "; nothing happened at all"
        shown = [f"  {entry}" for entry in self.entries[-_SHOWN:]]
        earlier = len(self.entries) - len(shown)
        heading = (
            f"; seen instead (after {earlier} earlier ones):" if earlier else "; seen instead:"
        )
        return "\n".join([heading, *shown])


def _told(event: Happening) -> str:
    if isinstance(event, CloudEvent):
        parts = event.data.model_dump(mode="json", exclude_none=True, exclude={"about"})
        name = event.kind
    else:
        assert is_dataclass(event)
        parts = {field.name: getattr(event, field.name) for field in fields(event)}
        name = type(event).__name__
    return name + "".join(f" {key}={value}" for key, value in parts.items())
