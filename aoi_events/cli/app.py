"""The command line ``aoi``: the table of its commands, errors and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from aoi_events.cli.output import fail
from aoi_events.errors import (
    AoiError,
    BrokerUnavailable,
    ClientUnreachable,
    ConfigurationError,
    InfrastructureError,
    StoreUnavailable,
)
from aoi_events.platform.exit_codes import ExitCode
from aoi_events.telemetry.logs import log_only_errors

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": (
        "demo.command:demo",
        "Play a complete example with two devices; exits 0 when every step succeeded.",
    ),
    "up": ("run:up", "Run every worker in this process: one command for one machine."),
    "worker": (
        "run:worker",
        "Run one worker; start as many copies as you like, here and on other machines.",
    ),
    "send": (
        "send:send",
        "Send a notification; exits 0 when each token was accepted and reached the awaited state.",
    ),
    "status": (
        "status:status",
        "Show a notification's deliveries and what happened to each, or the providers of channels.",
    ),
    "client": (
        "client:app",
        "Run the AOI Client of this device as a daemon, and register apps with it.",
    ),
    "dead": ("dead:app", "Look at messages that workers parked, and replay them."),
    "db": ("database:app", "Upgrade the schema of the store."),
    "broker": ("broker:app", "Declare the exchanges and queues of the broker."),
    "keys": ("keys:app", "Make and change the server's keys, and API keys for senders."),
    "policy": ("policy:app", "Check the operator's rules for plans, and explain a plan."),
    "contracts": (
        "contracts:contracts",
        "Print the JSON Schema of every request, answer, event and envelope, or of one of them.",
    ),
    "settings": (
        "settings:settings",
        "List every setting: its environment variable, default and meaning.",
    ),
    "metrics": (
        "metrics:metrics",
        "List every metric of `/metrics`: name, type, labels and meaning.",
    ),
}
"""Per command: the function or group below ``aoi_events.cli``, and its line in ``aoi --help``."""


def load_command(name: str) -> Any:
    """Import the module of a command; returns its click command."""
    module, attribute = COMMANDS[name][0].split(":")
    found = getattr(import_module(f"aoi_events.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name, group.help = name, COMMANDS[name][1]
        return group
    single = typer.Typer(add_completion=False)
    single.command(name)(found)
    return get_command(single)


class _Commands(TyperGroup):
    """Imports the module of the chosen command only."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load_command(name), rest


def _app() -> typer.Typer:
    app = typer.Typer(
        cls=_Commands,
        name="aoi",
        help="Push notifications over every notification channel a device has, driven by RabbitMQ.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, (_, summary) in COMMANDS.items():
        app.command(name, help=summary)(_not_loaded)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"aoi {version('aoi-events')}\n")
        raise typer.Exit


def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="print the version and exit"
        ),
    ] = False,
) -> None:
    """Options of ``aoi`` itself."""


def _not_loaded() -> None:
    """Placeholder for every command in ``aoi --help``; :class:`_Commands` runs the real one."""
    raise NotImplementedError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``aoi`` with these arguments, else the process's; ends in SystemExit.

    Exit codes: 78 for wrong settings, 69 where broker, store or daemon cannot be reached, 2 for
    wrong arguments, 1 for a refused request.
    """
    log_only_errors()  # commands that run workers configure logging anew
    try:
        _app()(arguments, prog_name="aoi")
    except ConfigurationError as error:
        fail(str(error), code=ExitCode.CONFIG)
    except BrokerUnavailable as error:
        fail(
            f"{error}; is RabbitMQ running there? AOI_BROKER says where it is",
            code=ExitCode.UNREACHABLE,
        )
    except StoreUnavailable as error:
        fail(f"{error} (AOI_STORE says where it is)", code=ExitCode.UNREACHABLE)
    except (ClientUnreachable, InfrastructureError) as error:
        fail(str(error), code=ExitCode.UNREACHABLE)
    except AoiError as error:
        fail(str(error), code=ExitCode.REFUSED)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
