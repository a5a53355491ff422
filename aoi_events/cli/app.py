"""The command line as a whole: its commands, errors that help, and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

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
    PublishRefused,
    StoreUnavailable,
)
from aoi_events.telemetry.logs import configure_logging

__all__ = ["COMMANDS", "load_command", "main"]

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("demo.command:demo", "Play the whole story; exits 0 when every step happened."),
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
        "Tell the story of a delivery, or of each one of a notification (of many: the states).",
    ),
    "client": ("client:app", "The AOI Client of this device, as a daemon."),
    "dead": ("dead:app", "Messages that were set aside."),
    "db": ("database:app", "The store's schema."),
    "broker": ("broker:app", "The broker's exchanges and queues."),
    "keys": ("keys:app", "The server's keys."),
    "policy": ("policy:app", "The operator's rules for plans."),
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
        group.name = name
        return group
    single = typer.Typer(add_completion=False)
    single.command(name)(found)
    return get_command(single)


class _Commands(TyperGroup):
    """Imports the module of the chosen command only: all of them take more than a second."""

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
    for name, (_, summary) in COMMANDS.items():
        app.command(name, help=summary)(_not_loaded)
    return app


def _not_loaded() -> None:
    """Stands for every command in ``aoi --help``; :class:`_Commands` runs the real one."""
    raise NotImplementedError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``aoi`` with these arguments, else the process's; ends in SystemExit.

    78 for wrong settings, 69 for an unreachable part, 2 for wrong arguments, 1 for a refusal.
    """
    # What libraries say of each attempt is noise here; workers configure theirs anew.
    configure_logging(level="error", form="console")
    try:
        _app()(arguments, prog_name="aoi")
    except ConfigurationError as error:
        fail(str(error), code=78)
    except (BrokerUnavailable, PublishRefused) as error:
        fail(f"{error}; is RabbitMQ running there? AOI_BROKER says where it is", code=69)
    except StoreUnavailable as error:
        fail(f"{error}; is it running there? AOI_STORE says where it is", code=69)
    except (ClientUnreachable, InfrastructureError) as error:
        fail(str(error), code=69)
    except AoiError as error:
        fail(str(error), code=1)
    except KeyboardInterrupt:
        sys.exit(130)
