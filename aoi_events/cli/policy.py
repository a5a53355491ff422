"""``aoi policy``: the operator's rules for plans, checked and explained."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aoi_events.bootstrap.keys import load_keys
from aoi_events.bootstrap.plugins import configure, installed_plugins
from aoi_events.bootstrap.policy_file import read_policy
from aoi_events.bootstrap.settings import Settings, load_settings
from aoi_events.cli.output import console, fail, plain, print_json
from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.contracts.requests import MAX_TTL
from aoi_events.domain.planning.plans import Demand, Step
from aoi_events.domain.planning.policy import Policy
from aoi_events.errors import ConfigurationError, PolicyRefused
from aoi_events.services.notification.explain import Explanation
from aoi_events.services.notification.explain import explain as explain_plan
from aoi_events.store.store import open_store

__all__ = ["app"]

app = typer.Typer(help="The operator's rules for plans.", no_args_is_help=True)

_TOKEN_ROOM = 4_096
_Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.callback()
def _group() -> None:
    """The operator's rules for plans."""


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="the policy file; default: AOI_POLICY_FILE")
    ] = None,
    json: _Json = False,
) -> None:
    """Check a policy file; exits 0 when workers would take it, else 1 with every fault."""
    path = file or load_settings().policy_file
    if path is None:
        raise ConfigurationError("name the policy file, or set AOI_POLICY_FILE")
    try:
        policy = read_policy(path, installed_plugins())
    except PolicyRefused as refused:
        if json:
            faults = [{"key": key, "message": said} for key, said in refused.faults]
            print_json({"file": str(path), "valid": False, "faults": faults})
            sys.exit(1)
        for key, said in refused.faults:
            console.print(plain(f"{key}: {said}" if key else f"the file {said}"), soft_wrap=True)
        fail(f"{path} is no policy; workers that run keep theirs, others do not start")
    own = policy.applications
    if json:
        print_json({"file": str(path), "valid": True, "faults": [], "applications": list(own)})
        return
    said = ", ".join(own) or "none"
    console.print(
        plain(f"{path} is good; applications with rules of their own: {said}"), soft_wrap=True
    )


@app.command()
def explain(
    token: Annotated[
        str, typer.Argument(help="an Application Client Token; - reads it from standard input")
    ],
    urgency: Annotated[Urgency, typer.Option(help="as a sender would say")] = Urgency.NORMAL,
    size: Annotated[int, typer.Option(min=0, max=MAX_CONTENT, help="octets of content")] = 100,
    mode: Annotated[Mode | None, typer.Option(help="as a sender would say")] = None,
    hedge_after: Annotated[
        float | None, typer.Option(min=0.1, max=86_400, help="as a sender would say, in seconds")
    ] = None,
    ttl: Annotated[int, typer.Option(min=0, max=MAX_TTL, help="seconds to live")] = 86_400,
    json: _Json = False,
) -> None:
    """Say which channels a notification for this token would go over now, when, and why no other.

    Looks at the store, with keys, channels and AOI_POLICY_FILE as workers have them.
    """
    if hedge_after is not None and mode is not Mode.HEDGED:
        raise ConfigurationError("--hedge-after goes with --mode hedged; say both, or neither")
    given = sys.stdin.read(_TOKEN_ROOM).strip() if token == "-" else token  # noqa: S105
    demand = Demand(Content.of("x" * size), urgency, mode, hedge_after)
    explanation = asyncio.run(_explain(load_settings(), given, demand, ttl))
    if json:
        print_json(_as_json(explanation, size))
    else:
        _print(explanation, size)


async def _explain(settings: Settings, token: str, demand: Demand, ttl: int) -> Explanation:
    installed = installed_plugins()
    file = settings.policy_file
    policy = Policy() if file is None else read_policy(file, installed)
    store = await open_store(settings.store.get_secret_value())
    try:
        await store.check()
        return await explain_plan(
            store,
            token,
            demand,
            ttl=ttl,
            keys=load_keys(settings).token_keys,
            traits=configure(installed, settings.channels).traits,
            policy=policy,
        )
    finally:
        await store.close()


def _as_json(told: Explanation, size: int) -> dict[str, Any]:
    return {
        "application": told.application.application,
        "instance": told.application.instance,
        "client": told.client.id,
        "connected": told.client.presence is not None,
        "urgency": told.demand.urgency,
        "octets": size,
        "mode": told.mode,
        "mode_said": told.mode_said_by(),
        "hedge_after": told.hedge_after if told.mode is Mode.HEDGED else None,
        "steps": [
            {
                "channel": step.channel,
                "start_after": step.start_after,
                "starts": starts,
                "ack_within": step.ack_within,
                "wake_up": step.wake_up,
                "cost": step.cost,
            }
            for step, starts in zip(told.steps, told.starts(), strict=True)
        ],
        "not_used": [
            {
                "channel": each.channel.type,
                "obstacle": each.obstacle,
                "why": told.why_not(each),
            }
            for each in told.candidates
            if each.obstacle is not None
        ],
        "cost": told.cost,
        "most_cost": told.rules.most_cost,
        "end": told.end(),
    }


def _print(told: Explanation, size: int) -> None:
    application, client = told.application, told.client
    presence = "connected" if client.presence is not None else "not connected"
    console.print(
        plain(f"{application.application} ({application.instance}) on {client.id}, {presence}"),
        soft_wrap=True,
    )
    hedge = f", head start {told.hedge_after:g} s" if told.mode is Mode.HEDGED else ""
    console.print(
        f"{told.demand.urgency} urgency, {size} octets, {told.mode}{hedge} ({told.mode_said_by()})",
        soft_wrap=True,
    )
    for number, (step, starts) in enumerate(zip(told.steps, told.starts(), strict=True), 1):
        line = plain(f"  {number}. {step.channel:<10} ", "green")
        console.print(line.append(f"{starts}; {_what(step)}", "default"), soft_wrap=True)
    for each in told.candidates:
        if each.obstacle is not None:
            line = plain(f"  –  {each.channel.type:<10} ", "yellow")
            line.append_text(plain(f"not used: {told.why_not(each)}", "default"))
            console.print(line, soft_wrap=True)
    if not told.candidates:
        console.print("  –  the device has no notification channel", soft_wrap=True)
    console.print(f"Unacknowledged: {told.end()}.", soft_wrap=True)


def _what(step: Step) -> str:
    what = "a wake-up, since the content is too large for it" if step.wake_up else "the content"
    cost = f", cost {step.cost:g}" if step.cost else ""
    return f"{what}{cost}; acknowledged within {step.ack_within:g} s"
