"""Checks that every queue has members on the nodes of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aoi_events.bootstrap.settings import Settings
from aoi_events.errors import AoiError, ConfigurationError
from aoi_events.platform.logs import get_logger
from aoi_events.topology import Topology

if TYPE_CHECKING:
    from aoi_events.broker.rabbitmq.members import Members

log = get_logger(__name__)

HOW_TO_GROW: Final = (
    "run for each node that has none of them: rabbitmq-queues grow NODE all --queue-pattern '^aoi'"
)


async def members_of(settings: Settings, declared: Topology) -> Members:
    """The members of the queues that are declared.

    Raises ConfigurationError and InfrastructureError.
    """
    if settings.broker_management is None:
        raise ConfigurationError(
            "set AOI_BROKER_MANAGEMENT to http://USER:PASSWORD@HOST:15672, RabbitMQ's management "
            "API, with a user who has the tag monitoring"
        )
    from aoi_events.broker.rabbitmq.members import members_of as look  # few processes ask

    return await look(
        settings.broker_management.get_secret_value(),
        settings.broker.get_secret_value(),
        {queue.name for queue in declared.queues},
    )


async def warn_of_few_members(settings: Settings, declared: Topology) -> None:
    """Log the queues with too few members at a start, where the settings allow to look."""
    if settings.broker_management is None or settings.in_process:
        return
    try:
        queues = (await members_of(settings, declared)).few
    except AoiError as error:
        log.warning("queue_members_unknown", error=str(error))
        return
    if queues:
        log.warning("queues_with_few_members", queues=queues, hint=HOW_TO_GROW)
