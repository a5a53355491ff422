"""``aoi status``: deliveries and what happened to them, and the providers of channels."""

from __future__ import annotations

from typing import Annotated

import typer

from aoi_events.cli.output import Json, fail
from aoi_events.platform.exit_codes import ExitCode


def status(
    identifier: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="ID of a notification, or of a delivery (dlv_…)"),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option(metavar="SENDER", help="show only the notification of this sender"),
    ] = None,
    channels: Annotated[
        bool, typer.Option("--channels", help="show the providers of channels instead")
    ] = False,
    json: Json = False,
) -> None:
    """Show a notification's deliveries and what happened to each, or the providers of channels.

    It reads the store, so it is for operators. Of a notification with many deliveries it shows the
    states only.
    """
    if channels:
        from aoi_events.cli.providers import show_providers

        show_providers(json=json)
        return
    if identifier is None:
        fail("say what to show: aoi status ID, or aoi status --channels", code=ExitCode.USAGE)
    from aoi_events.cli.deliveries import show_deliveries

    show_deliveries(identifier, sender, json=json)
