"""The command ``aoi demo``."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    broker: Annotated[
        str,
        typer.Option(
            metavar="URL", help="amqp://USER:PASSWORD@HOST/VHOST; memory:// is within this process"
        ),
    ] = "memory://",
    store: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="postgresql://USER:PASSWORD@HOST/DATABASE; default: SQLite in a temporary folder",
        ),
    ] = "",
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="show the workers' logs")
    ] = False,
) -> None:
    """Play a complete example with two devices; exits 0 when every step succeeded."""
    from aoi_events.cli.demo.play import play

    play(broker, store, verbose=verbose)
