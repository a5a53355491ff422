"""The commands, put together; errors that help, and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from aoi_events.cli import (
    bench,
    broker,
    client,
    contracts,
    database,
    dead,
    keys,
    metrics,
    policy,
    run,
    send,
    settings,
    status,
)
from aoi_events.cli.demo import command as demo
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

__all__ = ["app", "main"]

app = typer.Typer(
    name="aoi",
    help="Push notifications over every notification channel a device has, driven by RabbitMQ.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.command("up")(run.up)
app.command("worker")(run.worker)
app.command("send")(send.send)
app.command("status")(status.status)
app.add_typer(client.app, name="client")
app.add_typer(dead.app, name="dead")
app.add_typer(database.app, name="db")
app.add_typer(broker.app, name="broker")
app.add_typer(keys.app, name="keys")
app.add_typer(policy.app, name="policy")
app.add_typer(bench.app, name="bench")
app.command("contracts")(contracts.contracts)
app.command("settings")(settings.settings)
app.command("metrics")(metrics.metrics)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``aoi`` with these arguments, else the process's; ends in SystemExit.

    78 for wrong settings, 69 for an unreachable part, 2 for wrong arguments, 1 for a refusal.
    """
    # What libraries say of each attempt is noise here; workers configure theirs anew.
    configure_logging(level="error", form="console")
    try:
        app(arguments, prog_name="aoi")
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
