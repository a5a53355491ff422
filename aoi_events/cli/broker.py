"""``aoi broker``: exchanges and queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from aoi_events.cli.output import console, fail

if TYPE_CHECKING:
    from aoi_events.bootstrap.settings import Settings

app = typer.Typer(no_args_is_help=True)


@app.command()
def declare() -> None:
    """Declare every exchange and queue; safe to run again.

    With AOI_DECLARE=false workers do not declare anything themselves, so their broker users need no
    permission to configure.
    """
    import asyncio

    settings = _settings()
    from aoi_events.bootstrap.opening import declare as declare_topology

    names = asyncio.run(declare_topology(settings))
    console.print(f"{len(names)} exchanges and queues are there: {', '.join(names)}")


@app.command()
def check() -> None:
    """Check that every queue has members on the nodes of the cluster, three or as many as nodes.

    AOI_BROKER_MANAGEMENT says where RabbitMQ's management API is. Exits 1 where queues have too
    few, or are missing.
    """
    import asyncio

    settings = _settings()
    from aoi_events.bootstrap.members import HOW_TO_GROW
    from aoi_events.bootstrap.opening import check_members

    members, missing = asyncio.run(check_members(settings))
    if members.few:
        fail(f"too few nodes have {', '.join(members.few)}; {HOW_TO_GROW}")
    if missing:
        fail(f"there is no {', '.join(missing)}; `aoi broker declare` makes what is missing")
    console.print(f"{len(members.queues)} queues have as many members as they should")


def _settings() -> Settings:
    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.errors import ConfigurationError

    settings = load_settings()
    if settings.in_process:
        raise ConfigurationError(
            "AOI_BROKER is memory://, where `aoi up` declares everything itself; "
            "set it to amqp://USER:PASSWORD@HOST/VHOST"
        )
    return settings
