"""One transition of the AOI Client: the model as it becomes, and the effects so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from aoi_events.client.core.effects import Connect, Disconnect, Effect, Emit, Save, SendFrame
from aoi_events.client.core.events import ClientEvent
from aoi_events.client.core.model import ConnectionState, Model, PendingRequest, Phase
from aoi_events.client.core.state import ApplicationRecord, StoredState
from aoi_events.contracts.base import Request
from aoi_events.contracts.device import DeviceFrame, RequestFrame

IN_FLIGHT_LIMIT: Final = 8
"""Requests that wait for their answers at once, half of what a gateway lets a device have."""


class Transition:
    """Collects what one input changes in ``model``, and its ``effects``; pure."""

    def __init__(self, model: Model, fresh_secret: str) -> None:
        self.model = model
        self._before = model.stored
        self._fresh_secret: str | None = fresh_secret
        self._effects: list[Effect] = []

    @property
    def stored(self) -> StoredState:
        """The stored state after the transition."""
        return self.model.stored

    @property
    def connection(self) -> ConnectionState:
        """The state of the connection after the transition."""
        return self.model.connection

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The effects in order; Save comes first, where the stored state changed."""
        if self.stored == self._before:
            return tuple(self._effects)
        return (Save(self.stored), *self._effects)

    def use_secret(self) -> str | None:
        """The fresh secret at the first call, then None: no secret is used twice."""
        secret, self._fresh_secret = self._fresh_secret, None
        return secret

    def update(self, **changes: Any) -> None:
        """Change fields of the model."""
        self.model = replace(self.model, **changes)

    def update_stored(self, **changes: Any) -> None:
        """Change fields of the stored state."""
        self.update(stored=replace(self.stored, **changes))

    def update_application(self, record: ApplicationRecord) -> None:
        """Replace the stored record of one app instance."""
        self.update_stored(applications={**self.stored.applications, record.key: record})

    def update_connection(self, **changes: Any) -> None:
        """Change fields of the state of the connection."""
        self.update(connection=replace(self.connection, **changes))

    def add(self, effect: Effect) -> None:
        """Add an effect."""
        self._effects.append(effect)

    def emit(self, event: ClientEvent) -> None:
        """Publish an event to the event streams of the client."""
        self.add(Emit(event))

    def connect(self) -> None:
        """Make a new connection."""
        generation = self.connection.generation + 1
        self.update_connection(
            phase=Phase.CONNECTING,
            generation=generation,
            in_flight={},
            postponed=frozenset(),
            goodbye=None,
            frames_received=0,
        )
        self.add(Connect(generation, self.connection.failures, self.connection.replaced))

    def disconnect(self) -> None:
        """End the connection, if there is one; later inputs of it are ignored."""
        if self.connection.phase is not Phase.IDLE:
            self.add(Disconnect())
        generation = self.connection.generation + 1
        self.update_connection(phase=Phase.IDLE, generation=generation, in_flight={})

    def send(self, frame: DeviceFrame) -> None:
        """Send a frame over the present connection."""
        self.add(SendFrame(self.connection.generation, frame))

    def may_request(self, name: str, about: str) -> bool:
        """Whether this request can be sent now: it is not postponed, and there is room for it."""
        room = len(self.connection.in_flight) < IN_FLIGHT_LIMIT
        return room and (name, about) not in self.connection.postponed

    def request_in_flight(self, name: str, about: str) -> PendingRequest | None:
        """The latest request with this name and subject that waits for its answer."""
        latest_first = reversed(self.connection.in_flight.values())
        return next((p for p in latest_first if (p.name, p.about) == (name, about)), None)

    def request(self, pending: PendingRequest, body: Request) -> None:
        """Send a request and record that it waits for its answer."""
        number = self.connection.next_id
        pending = replace(pending, frames_before=self.connection.frames_received)
        in_flight = {**self.connection.in_flight, number: pending}
        self.update_connection(next_id=number + 1, in_flight=in_flight)
        content = body.model_dump(mode="json", exclude_none=True)
        self.send(RequestFrame(id=number, name=pending.name, body=content))

    def postpone(self, name: str, about: str) -> None:
        """Send this request again after the next welcome at the earliest, or after `allow`."""
        self.update_connection(postponed=self.connection.postponed | {(name, about)})

    def allow(self, name: str, about: str) -> None:
        """Let a postponed request be sent again."""
        self.update_connection(postponed=self.connection.postponed - {(name, about)})
