"""What a sender is answered when its request reaches no worker."""

from __future__ import annotations

import pytest

from aoi_events.broker.memory.broker import MemoryBroker
from aoi_events.broker.memory.server import MemoryServer
from aoi_events.contracts.answers import NotificationStatusV1
from aoi_events.contracts.requests import QueryNotificationV1
from aoi_events.endpoint.refusals import HttpRefusal
from aoi_events.endpoint.sender_requests import SenderRequests
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.testing.stopped_clock import FixedDice


async def test_a_request_that_the_broker_refuses() -> None:
    """Without exchanges the broker is not away: 503 says that it did not accept the request."""
    broker = MemoryBroker(MemoryServer())
    requests = SenderRequests(await broker.requester(), EndpointSettings(), FixedDice())
    with pytest.raises(HttpRefusal, match="the broker did not accept the request; try again"):
        await requests.ask(
            "shop", QueryNotificationV1(version=1, notification="n1"), NotificationStatusV1
        )
    await broker.close()
