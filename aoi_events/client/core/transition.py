"""One decision under way: the view as it becomes, and the effects so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from aoi_events.client.core.effects import Close, Effect, Open, Send, Store, Tell
from aoi_events.client.core.events import ClientEvent
from aoi_events.client.core.model import Link, Pending, Phase, View
from aoi_events.client.core.state import ApplicationRecord, Stored
from aoi_events.contracts.base import Request
from aoi_events.contracts.device import DeviceFrame, RequestFrame

__all__ = ["IN_FLIGHT_LIMIT", "Turn"]

IN_FLIGHT_LIMIT: Final = 8
"""Requests that wait for their answers at once, half of what a gateway lets a device have."""


class Turn:
    """Collects what one decision changes and asks for; pure, as it touches nothing else."""

    def __init__(self, view: View, fresh_secret: str) -> None:
        self.view = view
        self._before = view.stored
        self._fresh_secret: str | None = fresh_secret
        self._effects: list[Effect] = []

    @property
    def stored(self) -> Stored:
        """What will be stored."""
        return self.view.stored

    @property
    def link(self) -> Link:
        """The connection as it will be."""
        return self.view.link

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The effects, the storing of what changed before all others."""
        if self.stored == self._before:
            return tuple(self._effects)
        return (Store(self.stored), *self._effects)

    def take_secret(self) -> str | None:
        """The fresh secret, once; a decision never uses one twice."""
        secret, self._fresh_secret = self._fresh_secret, None
        return secret

    def keep(self, **changes: Any) -> None:
        """Change what is stored."""
        self.view = replace(self.view, stored=replace(self.stored, **changes))

    def keep_application(self, record: ApplicationRecord) -> None:
        """Change what is stored of one app instance."""
        self.keep(applications={**self.stored.applications, record.key: record})

    def set_link(self, **changes: Any) -> None:
        """Change the connection."""
        self.view = replace(self.view, link=replace(self.link, **changes))

    def do(self, effect: Effect) -> None:
        """Ask for an effect."""
        self._effects.append(effect)

    def tell(self, event: ClientEvent) -> None:
        """Tell whoever watches."""
        self._effects.append(Tell(event))

    def open(self) -> None:
        """Make a new connection."""
        generation = self.link.generation + 1
        self.set_link(
            phase=Phase.CONNECTING,
            generation=generation,
            in_flight={},
            held=frozenset(),
            goodbye=None,
            heard=0,
        )
        self.do(Open(generation, self.link.failures, self.link.replaced))

    def close(self, phase: Phase = Phase.IDLE) -> None:
        """End the connection, if there is one; what it still says is ignored."""
        if self.link.phase is not Phase.IDLE:
            self.do(Close(self.link.generation))
        self.set_link(phase=phase, generation=self.link.generation + 1, in_flight={})

    def send(self, frame: DeviceFrame) -> None:
        """Send a frame over the present connection."""
        self.do(Send(self.link.generation, frame))

    def may_ask(self, name: str, about: str) -> bool:
        """Whether this request can go out: not held back, and room for one more."""
        return (name, about) not in self.link.held and len(self.link.in_flight) < IN_FLIGHT_LIMIT

    def asking(self, name: str, about: str) -> Pending | None:
        """The latest request of that name about that, while it waits for its answer."""
        matching = [
            pending
            for pending in self.link.in_flight.values()
            if (pending.name, pending.about) == (name, about)
        ]
        return matching[-1] if matching else None

    def ask(self, pending: Pending, body: Request) -> None:
        """Send a request, and note that it waits for its answer."""
        number = self.link.next_id
        pending = replace(pending, heard=self.link.heard)
        self.set_link(next_id=number + 1, in_flight={**self.link.in_flight, number: pending})
        content = body.model_dump(mode="json", exclude_none=True)
        self.send(RequestFrame(id=number, name=pending.name, body=content))

    def hold(self, name: str, about: str) -> None:
        """Do not ask this again before the next connection, or another occasion."""
        self.set_link(held=self.link.held | {(name, about)})

    def release(self, name: str, about: str) -> None:
        """This may be asked again."""
        self.set_link(held=self.link.held - {(name, about)})
