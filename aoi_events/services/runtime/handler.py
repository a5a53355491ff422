"""The interface of a worker's handler: what to do with the messages of one queue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Store
from aoi_events.services.messages.requests import IncomingRequest, read_request
from aoi_events.services.runtime.settings import ServiceSettings

T = TypeVar("T")

_ABOUT: Final = ("notification", "delivery", "client")


class Handler(ABC, Generic[T]):
    """Handles messages; the runtime takes, publishes, acknowledges and parks them."""

    queue: str
    """The queue that it takes from."""

    @abstractmethod
    def read(self, message: Inbound) -> T:
        """Read the item in the message. Raises Refusal for an invalid message."""

    @abstractmethod
    async def handle(self, items: Sequence[T]) -> Sequence[Outbound]:
        """Commit the effects of all items at once; return what must be published before the ack.

        May run again with the same items, then marked as redelivered. Raises InfrastructureError
        when broker or store fail, ConfigurationError when the settings cannot do it (both pause
        the worker); any other exception is a bug in handling one of the items.
        """

    def about(self, item: T) -> Mapping[str, object]:
        """The notification, delivery or client of the item, for the log."""
        return {}

    def abandoned(self, item: T) -> Sequence[Outbound]:
        """The messages to publish when this item is parked because handling it fails."""
        return ()


@dataclass(frozen=True)
class RequestHandler(Handler[IncomingRequest]):
    """Handles the requests of devices and senders."""

    store: Store
    settings: ServiceSettings
    clock: Clock

    def read(self, message: Inbound) -> IncomingRequest:
        """Read the request in the message. Raises Refusal for an invalid message."""
        return read_request(message, self.settings.gateways, self.settings.endpoints)

    def about(self, item: IncomingRequest) -> Mapping[str, object]:
        """The notification, delivery or client that the request names, and its sender."""
        named = {name: getattr(item.request, name, None) for name in _ABOUT}
        return {"sender": item.sender} | {name: value for name, value in named.items() if value}
