"""``aoi up`` and ``aoi worker``: run workers until TERM."""

from __future__ import annotations

from typing import Annotated

import typer

from aoi_events.bootstrap.opening import WORKERS
from aoi_events.bootstrap.plugins import installed_plugins
from aoi_events.bootstrap.process import EXIT_CONFIG, run_process
from aoi_events.bootstrap.settings import load_settings
from aoi_events.cli.output import fail
from aoi_events.errors import ConfigurationError

__all__ = ["up", "worker", "worker_process"]


def worker_process(name: str) -> int:
    """Run one worker with the settings of the environment; returns the exit code."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        fail(str(error), code=EXIT_CONFIG)
    if name not in (names := _names()):
        fail(f"there is no worker {name!r}; there are {', '.join(names)}", code=EXIT_CONFIG)
    return run_process(settings, [name])


def up() -> None:
    """Run every worker in this process: one command for one machine.

    Brings the database up to date and makes a key file if there is none. TERM drains, a second
    TERM stops at once.
    """
    raise typer.Exit(run_process(load_settings(), alone=True))


def worker(
    name: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(WORKERS)}, or a connectionless channel: sms, webhook, webpush"
        ),
    ],
) -> None:
    """Run one worker; start as many copies as you like, here and on other machines."""
    raise typer.Exit(worker_process(name))


def _names() -> tuple[str, ...]:
    """Every worker that there can be; a channel's needs its settings to run, too."""
    channels = sorted(
        kind
        for kind, plugin in installed_plugins().items()
        if not plugin.traits(plugin.settings_model()).connection_oriented
    )
    return (*WORKERS, *channels)
