"""``aoi policy``: the operator's rules for plans, checked and explained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from aoi_events.cli.output import Json, console, fail, plain, print_json
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.platform.exit_codes import ExitCode

app = typer.Typer(no_args_is_help=True)

_TOKEN_ROOM = 4_096


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="the policy file; default: AOI_POLICY_FILE"),
    ] = None,
    json: Json = False,
) -> None:
    """Check a policy file; exits 0 when workers would use it, else 1 with every fault."""
    from aoi_events.bootstrap.plugins import installed_channels
    from aoi_events.bootstrap.policy_format import read_policy
    from aoi_events.errors import PolicyRefused

    path = file or _policy_file()
    try:
        policy = read_policy(path, installed_channels())
    except PolicyRefused as refused:
        if json:
            faults = [{"key": key, "message": message} for key, message in refused.faults]
            print_json({"file": str(path), "valid": False, "faults": faults})
            sys.exit(ExitCode.REFUSED)
        for key, message in refused.faults:
            console.print(
                plain(f"{key}: {message}" if key else f"the file {message}"), soft_wrap=True
            )
        fail(
            f"{path} is no valid policy; running workers keep the one they have, others do not "
            "start"
        )
    own = policy.applications
    if json:
        print_json({"file": str(path), "valid": True, "faults": [], "applications": list(own)})
        return
    names = ", ".join(own) or "none"
    console.print(
        plain(f"{path} is valid; applications with rules of their own: {names}"), soft_wrap=True
    )


def _policy_file() -> Path:
    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.errors import ConfigurationError

    if (path := load_settings().policy_file) is None:
        raise ConfigurationError("name the policy file, or set AOI_POLICY_FILE")
    return path


@app.command()
def explain(
    token: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN", help="an Application Client Token; - reads it from standard input"
        ),
    ],
    urgency: Annotated[Urgency, typer.Option(help="urgency of the notification")] = Urgency.NORMAL,
    size: Annotated[
        int, typer.Option(min=0, metavar="OCTETS", help="size of the content, at most 4,096")
    ] = 100,
    mode: Annotated[
        Mode | None,
        typer.Option(help="how the sender wants channels used; default: as the operator chose"),
    ] = None,
    hedge_after: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=86_400,
            metavar="SECONDS",
            help="head start of each channel before the next, in mode hedged",
        ),
    ] = None,
    ttl: Annotated[
        int, typer.Option(min=0, metavar="SECONDS", help="time to live, at most 28 days")
    ] = 86_400,
    json: Json = False,
) -> None:
    """Explain which channels a notification for this token would use now, when, and why no other.

    It reads the store, and uses the keys, channels and AOI_POLICY_FILE of its own settings: give it
    those of the workers.
    """
    import asyncio

    from aoi_events.cli.plan import explain_plan
    from aoi_events.contracts.content import MAX_CONTENT, Content
    from aoi_events.contracts.requests import MAX_TTL
    from aoi_events.domain.planning.plans import Demand

    for option, value, most in (("--size", size, MAX_CONTENT), ("--ttl", ttl, MAX_TTL)):
        if value > most:
            fail(f"{option} is {value}; it may be {most} at most", code=ExitCode.USAGE)
    if hedge_after is not None and mode is not Mode.HEDGED:
        fail("--hedge-after needs --mode hedged; give both or neither", code=ExitCode.USAGE)
    text = sys.stdin.read(_TOKEN_ROOM).strip() if token == "-" else token  # noqa: S105
    demand = Demand(Content.of("x" * size), urgency, mode, hedge_after)
    asyncio.run(explain_plan(text, demand, ttl, size=size, json=json))
