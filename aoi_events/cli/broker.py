"""``aoi broker``: exchanges and queues."""

from __future__ import annotations

import typer

from aoi_events.cli.output import console

app = typer.Typer(no_args_is_help=True)


@app.command()
def declare() -> None:
    """Declare every exchange and queue; safe to run again.

    With AOI_DECLARE=false workers do not declare anything themselves, so their broker users need no
    permission to configure.
    """
    import asyncio

    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.errors import ConfigurationError

    settings = load_settings()
    if settings.in_process:
        raise ConfigurationError(
            "AOI_BROKER is memory://, where `aoi up` declares everything itself; "
            "set it to amqp://USER:PASSWORD@HOST/VHOST"
        )
    from aoi_events.bootstrap.opening import declare as declare_topology

    names = asyncio.run(declare_topology(settings))
    console.print(f"{len(names)} exchanges and queues are there: {', '.join(names)}")
