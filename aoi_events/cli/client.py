"""``aoi client``: the AOI Client of this device, as a daemon."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from aoi_events.bootstrap.settings import Settings, load_settings
from aoi_events.cli.output import console, fail, plain, print_json
from aoi_events.contracts.apps import (
    MAX_WAIT,
    AppRequest,
    AppsListed,
    ClientStatus,
    IdentitySet,
    ListAppsV1,
    QueryClientV1,
    RegisterAppV1,
    Registered,
    SetIdentityV1,
    UnregisterAppV1,
    Unregistered,
)
from aoi_events.contracts.base import Contract, Request
from aoi_events.daemon.control_client import ask
from aoi_events.daemon.settings import socket_path
from aoi_events.errors import UnexpectedAnswer
from aoi_events.telemetry.logs import configure_logging

__all__ = ["app"]

A = TypeVar("A", bound=Contract)
R = TypeVar("R", bound=Request)

app = typer.Typer(help="The AOI Client of this device, as a daemon.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="the application, like org.example.mail")]
Instance = Annotated[str, typer.Option(help="which of its instances on this device")]
Wait = Annotated[
    float, typer.Option(min=0, max=MAX_WAIT, help="seconds to wait for the AOI Server's answer")
]


@app.command()
def run() -> None:
    """Run the AOI Client until TERM: one connection for all the apps of this device.

    AOI_CLIENT__URL and AOI_CLIENT__IDENTITY are needed. TERM drains, a second TERM stops at once.
    """
    from aoi_events.daemon.process import run_daemon

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
            help="wakes it, with the notification as JSON on standard input: a program and its "
            "arguments, which no shell reads; '' for none any more"
        ),
    ] = None,
    owner: Annotated[
        int | None, typer.Option(min=0, help="number of the user who may attach for it")
    ] = None,
    sender_key: Annotated[
        str | None,
        typer.Option(
            help="only who proves this VAPID public key may send to the token; another key means "
            "another token"
        ),
    ] = None,
    wait: Wait = 15.0,
    json: Json = False,
) -> None:
    """Register an app and print its token, to be handed to the app's backend.

    Again with another command: that one counts from now on; without one: it stays as it was.
    """
    request = _request(
        RegisterAppV1,
        application=name,
        instance=instance,
        command=None if command is None else _split(command),
        owner=owner,
        sender_key=sender_key,
        wait=wait,
    )
    answer = _asked(request, Registered, wait=wait)
    if json:
        _print(answer)
    elif answer.token is not None:
        console.print(answer.token, soft_wrap=True, markup=False)
    if answer.token is None:
        fail(
            f"{name} is registered on this device, and the AOI Server will be told; it did not "
            f"answer within {wait:g} s: ask again for the token (`aoi client status` says why)",
            code=os.EX_TEMPFAIL,
        )


@app.command("unregister-app")
def unregister_app(
    name: Name, instance: Instance = "default", wait: Wait = 15.0, json: Json = False
) -> None:
    """End an app's registration: its token is void."""
    request = _request(UnregisterAppV1, application=name, instance=instance, wait=wait)
    answer = _asked(request, Unregistered, wait=wait)
    if json:
        _print(answer)
        return
    told = "the AOI Server knows" if answer.confirmed else "the AOI Server is told once connected"
    console.print(plain(f"{name} is unregistered; {told}"), soft_wrap=True)


@app.command()
def apps(json: Json = False) -> None:
    """List the apps that are registered, and which of them run."""
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
    """Tell how the AOI Client is: connection, ID, channels, the last trouble."""
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
    identity: Annotated[str, typer.Argument(help="who uses the device now, like tel:+15550100")],
) -> None:
    """Say that another user has the device: it registers again, and every token changes."""
    _asked(_request(SetIdentityV1, identity=identity), IdentitySet)
    console.print("Stored; the AOI Client registers again.")


def _split(command: str) -> tuple[str, ...]:
    """Arguments as a shell would tell them apart, and nothing else that a shell would do."""
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        fail(f"--command: {error}", code=2)


def _asked(request: AppRequest, expected: type[A], *, wait: float = 0.0) -> A:
    settings: Settings = load_settings()
    path: Path = socket_path(settings.client, os.environ, os.geteuid())
    answer = ask(path, request, wait=wait)
    if not isinstance(answer, expected):
        raise UnexpectedAnswer(f"the AOI Client at {path} answered something else")
    return answer


def _request(model: type[R], **fields: Any) -> R:
    """The request; wrong arguments end with 2."""
    try:
        return model(version=1, **fields)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        fail(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}", code=2)


def _print(answer: Contract) -> None:
    print_json(answer.model_dump(mode="json", exclude_none=True))
