"""The output of ``aoi policy explain``: a plan in words, or as JSON."""

from __future__ import annotations

from typing import Any

from aoi_events.bootstrap.keys import load_keys
from aoi_events.bootstrap.plugins import configure, installed_plugins
from aoi_events.bootstrap.policy_format import read_policy
from aoi_events.bootstrap.settings import load_settings
from aoi_events.cli.output import console, plain, print_json
from aoi_events.cli.plan_words import end, mode_decided_by, starts, why_not
from aoi_events.cli.store import checked_store
from aoi_events.contracts.identifiers import Mode
from aoi_events.domain.planning.plans import Demand, Step
from aoi_events.domain.planning.policy import Policy
from aoi_events.services.notification.explain import Explanation, explain


async def explain_plan(token: str, demand: Demand, ttl: int, *, size: int, json: bool) -> None:
    """Print the plan for a notification to ``token`` with ``size`` octets of content."""
    settings = load_settings()
    installed = installed_plugins()
    file = settings.policy_file
    policy = Policy() if file is None else read_policy(file, installed)
    async with checked_store() as store:
        explanation = await explain(
            store,
            token,
            demand,
            ttl=ttl,
            keys=load_keys(settings).token_keys,
            traits=configure(installed, settings.channels).traits,
            policy=policy,
        )
    if json:
        print_json(_as_json(explanation, size))
    else:
        _print(explanation, size)


def _as_json(found: Explanation, size: int) -> dict[str, Any]:
    return {
        "application": found.application.application,
        "instance": found.application.instance,
        "client": found.client.id,
        "connected": found.client.presence is not None,
        "urgency": found.demand.urgency,
        "octets": size,
        "mode": found.mode,
        "mode_said": mode_decided_by(found),
        "hedge_after": found.hedge_after if found.mode is Mode.HEDGED else None,
        "steps": [
            {
                "channel": step.channel,
                "start_after": step.start_after,
                "starts": start,
                "ack_within": step.ack_within,
                "wake_up": step.wake_up,
                "cost": step.cost,
            }
            for step, start in zip(found.steps, starts(found), strict=True)
        ],
        "not_used": [
            {
                "channel": each.channel.type,
                "obstacle": each.obstacle,
                "why": why_not(found, each),
            }
            for each in found.candidates
            if each.obstacle is not None
        ],
        "cost": found.cost,
        "most_cost": found.rules.most_cost,
        "end": end(found),
    }


def _print(found: Explanation, size: int) -> None:
    application, client = found.application, found.client
    presence = "connected" if client.presence is not None else "not connected"
    console.print(
        plain(f"{application.application} ({application.instance}) on {client.id}, {presence}"),
        soft_wrap=True,
    )
    hedge = f", head start {found.hedge_after:g} s" if found.mode is Mode.HEDGED else ""
    console.print(
        f"{found.demand.urgency} urgency, {size} octets, "
        f"{found.mode}{hedge} ({mode_decided_by(found)})",
        soft_wrap=True,
    )
    for number, (step, start) in enumerate(zip(found.steps, starts(found), strict=True), 1):
        line = plain(f"  {number}. {step.channel:<10} ", "green")
        console.print(line.append(f"{start}; {_what(step)}", "default"), soft_wrap=True)
    for each in found.candidates:
        if each.obstacle is not None:
            line = plain(f"  –  {each.channel.type:<10} ", "yellow")
            line.append_text(plain(f"not used: {why_not(found, each)}", "default"))
            console.print(line, soft_wrap=True)
    if not found.candidates:
        console.print("  –  the device has no notification channel", soft_wrap=True)
    console.print(f"Unacknowledged: {end(found)}.", soft_wrap=True)


def _what(step: Step) -> str:
    what = "a wake-up, since the content is too large for it" if step.wake_up else "the content"
    cost = f", cost {step.cost:g}" if step.cost else ""
    return f"{what}{cost}; acknowledged within {step.ack_within:g} s"
