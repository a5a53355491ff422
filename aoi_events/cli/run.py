"""``aoi up`` and ``aoi worker``: run workers until TERM."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aoi_events.cli.output import console

if TYPE_CHECKING:
    from aoi_events.bootstrap.process import Addresses


def up() -> None:
    """Run every worker in this process: one command for one machine.

    It brings the database schema up to date, and makes a key file if there is none. The signal TERM
    (or Ctrl-C) stops it once the current work is done; a second one stops it at once.
    """
    ignore_hup()
    from aoi_events.bootstrap.process import run_process
    from aoi_events.bootstrap.settings import load_settings

    settings = load_settings()

    def ready(addresses: Addresses) -> None:
        if sys.stdout.isatty():
            _print_addresses(addresses, over_amqp=not settings.in_process)

    raise typer.Exit(run_process(settings, alone=True, ready=ready))


def worker(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="registration, activation, notification, outcome, deadlines, gateway, endpoint, "
            "or a channel without a connection: sms, webhook, webpush",
        ),
    ],
) -> None:
    """Run one worker; start as many copies as you like, here and on other machines.

    The signal TERM (or Ctrl-C) stops it once the current work is done; a second one stops it at
    once.
    """
    ignore_hup()
    from aoi_events.bootstrap.process import run_process
    from aoi_events.bootstrap.settings import load_settings

    raise typer.Exit(run_process(load_settings(), [name]))


def ignore_hup() -> None:
    """Ignore HUP until the process follows its files: it has read none that could be old."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _print_addresses(addresses: Addresses, *, over_amqp: bool) -> None:
    """The last lines of a start, for people; the log event ``started`` has the same."""
    senders = addresses.senders or ""
    rows = {
        "devices connect at": addresses.devices,
        "senders send to": f"{senders}, or AMQP to the broker" if over_amqp else senders,
        "metrics are at": addresses.metrics,
    }
    console.print("[bold green]Ready.[/] Ctrl-C stops it.")
    for what, where in rows.items():
        if where:
            console.print(f"  {what:<20}{where}", soft_wrap=True, markup=False)
