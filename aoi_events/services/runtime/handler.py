"""The interface of a worker's handler: what to do with the messages of one queue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from aoi_events.contracts.requests import AnyRequest
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.services.messages.requests import IncomingRequest, about_request, read_request
from aoi_events.services.runtime.settings import ServiceSettings

T = TypeVar("T")


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


class RequestHandler(Handler[IncomingRequest[AnyRequest]]):
    """Handles the requests of devices and senders."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def read(self, message: Inbound) -> IncomingRequest[AnyRequest]:
        """Read the request in the message. Raises Refusal for an invalid message."""
        return read_request(message, self._settings.gateways, self._settings.endpoints)

    def about(self, item: IncomingRequest[AnyRequest]) -> Mapping[str, object]:
        """The IDs in the request, for the log."""
        return about_request(item)
