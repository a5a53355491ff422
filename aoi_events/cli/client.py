"""``aoi client``: the AOI Client of this device, as a daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from aoi_events.cli.output import Json, console, fail, option_of, plain, print_json
from aoi_events.cli.run import ignore_hup
from aoi_events.platform.exit_codes import ExitCode

if TYPE_CHECKING:
    from aoi_events.contracts.apps import AppRequest
    from aoi_events.contracts.base import Contract, Request

A = TypeVar("A", bound="Contract")
R = TypeVar("R", bound="Request")

_OPTIONS: Final = {"application": "NAME", "identity": "IDENTITY"}
"""Fields of requests that are arguments; the others are options of their names."""

app = typer.Typer(no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="name of the app, for example org.example.mail")
]
Instance = Annotated[
    str, typer.Option(metavar="NAME", help="which instance of the app on this device")
]
Wait = Annotated[
    float,
    typer.Option(min=0, metavar="SECONDS", help="how long to wait for the AOI Server, at most 60"),
]


@app.command()
def run() -> None:
    """Run the AOI Client: one connection for all the apps of this device.

    AOI_CLIENT__URL and AOI_CLIENT__IDENTITY must be set. The signal TERM (or Ctrl-C) stops it once
    apps have finished; a second one stops it at once.
    """
    ignore_hup()
    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.daemon.process import run_daemon
    from aoi_events.telemetry.logs import configure_logging

    settings = load_settings()
    configure_logging(level=settings.log.level, form=settings.log.format)
    raise typer.Exit(run_daemon(settings.client))


@app.command("register-app")
def register_app(
    name: Name,
    instance: Instance = "default",
    command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="program with arguments that is run for a notification, which it reads as JSON "
            "from standard input; no shell is used; '': run nothing from now on",
        ),
    ] = None,
    owner: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="UID",
            help="user whose processes may attach as the app; default: unchanged, at first you",
        ),
    ] = None,
    sender_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="VAPID public key: only senders that prove it may send to the token; with another "
            "key the app gets another token",
        ),
    ] = None,
    wait: Wait = 15.0,
    json: Json = False,
) -> None:
    """Register an app and print its token, which the app's backend needs for sending.

    Registering again with --command replaces the command; without it, the command stays.
    """
    from aoi_events.contracts.apps import AppRegistered, RegisterAppV1

    request = _request(
        RegisterAppV1,
        application=name,
        instance=instance,
        command=None if command is None else _split(command),
        owner=owner,
        sender_key=sender_key,
        wait=wait,
    )
    answer = _asked(request, AppRegistered, wait=wait)
    if json:
        _print(answer)
    elif answer.token is not None:
        console.print(answer.token, soft_wrap=True, markup=False)
    if answer.token is None:
        fail(
            f"{name} is registered on this device, but the AOI Server did not answer within "
            f"{wait:g} s; run the command again for the token (`aoi client status` shows why)",
            code=ExitCode.TRY_LATER,
        )


@app.command("unregister-app")
def unregister_app(
    name: Name, instance: Instance = "default", wait: Wait = 15.0, json: Json = False
) -> None:
    """End an app's registration; its token becomes invalid."""
    from aoi_events.contracts.apps import UnregisterAppV1, Unregistered

    request = _request(UnregisterAppV1, application=name, instance=instance, wait=wait)
    answer = _asked(request, Unregistered, wait=wait)
    if json:
        _print(answer)
        return
    server = "has confirmed" if answer.confirmed else "will be informed once connected"
    console.print(plain(f"{name} is unregistered; the AOI Server {server}"), soft_wrap=True)


@app.command()
def apps(json: Json = False) -> None:
    """List the registered apps, and which of them are attached."""
    from aoi_events.contracts.apps import AppsListed, ListAppsV1

    answer = _asked(ListAppsV1(version=1), AppsListed)
    if json:
        _print(answer)
        return
    if not answer.apps:
        console.print("No app is registered.")
    for each in answer.apps:
        line = plain(f"{each.application}/{each.instance}", "bold")
        state = "attached" if each.attached else "not attached"
        token = each.fingerprint or "no token yet"
        line.append_text(plain(f"  {state}  {token}  user {each.owner}", "not bold"))
        if each.command:
            line.append_text(plain(f"  woken by: {' '.join(each.command)}", "not bold dim"))
        console.print(line, soft_wrap=True)


@app.command()
def status(json: Json = False) -> None:
    """Show the state of the AOI Client: connection, ID, channels, the last problem."""
    from aoi_events.contracts.apps import ClientStatus, QueryClientV1

    answer = _asked(QueryClientV1(version=1), ClientStatus)
    if json:
        _print(answer)
        return
    metered = ", metered" if answer.metered else ""
    rows = {
        "connection": f"{'connected to' if answer.connected else 'not connected to'} {answer.url}",
        "AOI Client ID": answer.client or "not registered yet",
        "device": answer.device,
        "network": f"{answer.bearer}{metered}",
        "channels": ", ".join(f"{each.type} {each.state}" for each in answer.channels) or "none",
        "apps": f"{answer.apps}, {answer.attached} attached",
        "trouble": answer.trouble or "none",
    }
    for name, value in rows.items():
        console.print(plain(f"{name:>13}  ", "dim").append_text(plain(value)), soft_wrap=True)


@app.command("set-identity")
def set_identity(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="IDENTITY", help="who uses the device now, for example tel:+15550100"
        ),
    ],
) -> None:
    """Set the user of the device: the AOI Client registers again, and every token changes."""
    from aoi_events.contracts.apps import IdentitySet, SetIdentityV1

    _asked(_request(SetIdentityV1, identity=identity), IdentitySet)
    console.print("Stored; the AOI Client registers again.")


def _split(command: str) -> tuple[str, ...]:
    """Split into words as a shell would, without any other shell syntax."""
    import shlex

    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        fail(f"--command: {error}", code=ExitCode.USAGE)


def _asked(request: AppRequest, expected: type[A], *, wait: float = 0.0) -> A:
    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.daemon.control_client import send_request
    from aoi_events.daemon.settings import socket_path
    from aoi_events.errors import UnexpectedAnswer

    path = socket_path(load_settings().client, os.environ, os.geteuid())
    answer = send_request(path, request, wait=wait)
    if not isinstance(answer, expected):
        raise UnexpectedAnswer(f"the AOI Client at {path} answered something else")
    return answer


def _request(model: type[R], **fields: Any) -> R:
    """The request; exits 2 for wrong arguments."""
    from pydantic import ValidationError

    from aoi_events.contracts.faults import in_words

    try:
        return model(version=1, **fields)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        field = str(fault["loc"][0]) if fault["loc"] else ""
        fail(
            f"{_OPTIONS.get(field, option_of(field))}: {in_words(fault)}",
            code=ExitCode.USAGE,
        )


def _print(answer: Contract) -> None:
    print_json(answer.model_dump(mode="json", exclude_none=True))
