"""Workers that die between commit and publish, and the answers of the run after them."""

from __future__ import annotations

import asyncio
from typing import Any

from aoi_events.contracts.answers import ANSWERS, AnyAnswer
from aoi_events.ports.broker import Subscription
from aoi_events.services.activation.handler import ActivationHandler
from aoi_events.services.notification.handler import NotificationHandler
from aoi_events.services.outcome.handler import OutcomeHandler
from aoi_events.services.registration.handler import RegistrationHandler
from aoi_events.services.runtime.handler import Handler
from aoi_events.topology import Queue, QueueKind, worker_queue
from tests.integration.services.conftest import OpenSystem
from tests.support.actors import User
from tests.support.limits import WITHIN
from tests.support.system import WORKERS, System


def handler(system: System, name: str) -> Handler[Any]:
    """A handler of its own, as another process has it."""
    found = system.installation
    given = (found.store, found.services, system.clock)
    match name:
        case "registration":
            return RegistrationHandler(*given)
        case "activation":
            return ActivationHandler(*given)
        case "notification":
            return NotificationHandler(*given, system.dice)
        case _:
            return OutcomeHandler(*given, system.dice)


async def die_after_commit(system: System, name: str) -> None:
    """A worker takes one message, commits, and dies before it publishes anything."""
    broker = await system.connect("aoi")
    doomed = handler(system, name)
    subscription = await broker.subscribe(worker_queue(doomed.queue)[0], prefetch=1)
    async with asyncio.timeout(WITHIN):
        (message,) = await subscription.take(1)
    await doomed.handle([doomed.read(message)])
    await broker.close()


class Replies:
    """A reply queue of a user's own, for answers to requests that outlive a worker."""

    def __init__(self, user: User, subscription: Subscription, queue: str) -> None:
        self.user = user
        self.queue = queue
        self._subscription = subscription

    @classmethod
    async def of(cls, user: User) -> Replies:
        """A new one."""
        name = f"aoi.reply.{user.broker.user}.replies"
        return cls(
            user, await user.broker.subscribe(Queue(name, QueueKind.EXCLUSIVE), prefetch=9), name
        )

    async def ask(self, routing_key: str, **body: Any) -> None:
        """Publish a request; its answer comes here."""
        await self.user.tell(routing_key, reply_to=self.queue, **body)

    async def next(self) -> AnyAnswer:
        """The next answer."""
        async with asyncio.timeout(WITHIN):
            (message,) = await self._subscription.take(1)
        await self._subscription.ack([message])
        return ANSWERS[message.type or ""].decode(message.body)


async def system_without(open_system: OpenSystem, *names: str) -> System:
    """An installation in which these workers do not run yet."""
    return await open_system(workers=[name for name in WORKERS if name not in names])
