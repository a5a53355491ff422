"""The sentences of ``aoi policy explain``: what each part of a plan means for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import Channel
from aoi_events.domain.planning.plans import Candidate, Obstacle
from aoi_events.services.notification.explain import Explanation

_CLOSED: Final[Mapping[CloseReason, str]] = {
    CloseReason.DEACTIVATED: "deactivated by the device",
    CloseReason.NOT_OFFERED: "no longer offered by the device",
    CloseReason.NO_SUCH_CHANNEL: "this server has no such channel",
    CloseReason.OFFER_REFUSED: "its parameters were refused",
    CloseReason.OTHERS_PREFERRED: "other channels of its kind were preferred",
    CloseReason.TOO_MANY_CHALLENGES: "too many challenges within an hour",
    CloseReason.NOT_PROVED: "the device did not prove that it receives at the address",
    CloseReason.WRONG_CODES: "the device sent too many wrong codes back",
    CloseReason.CHALLENGE_REFUSED: "the provider refused the challenge",
    CloseReason.ADDRESS_REFUSED: "the provider refused the address",
    CloseReason.TAKEN_OVER: "another client proved the same address",
}


def mode_decided_by(plan: Explanation) -> str:
    """The source of the mode, in words."""
    if plan.demand.mode is not None:
        return "as the sender wants"
    return "built in" if plan.rules.mode is None else "as the policy says"


def starts(plan: Explanation) -> list[str]:
    """When each step starts, in words."""
    sentences: list[str] = []
    # Seconds after which all steps so far are over, if each of them stays silent.
    silence = 0.0
    for index, step in enumerate(plan.steps):
        sentences.append(_start(plan, index, silence))
        own = silence if step.start_after is None else min(step.start_after, silence)
        silence = max(silence, own + step.ack_within)
    return sentences


def _start(plan: Explanation, index: int, silence: float) -> str:
    own = plan.steps[index].start_after
    if index == 0 or own == 0:
        return "at once"
    before = " and ".join(step.channel for step in plan.steps[:index])
    failed = f"when {before} failed"
    if own is None or own >= silence:
        start = f"{failed} or stayed silent, after {silence:g} s at the latest"
        late = silence >= plan.ttl
    else:
        start = f"after {own:g} s unless acknowledged, or {failed}"
        late = own >= plan.ttl
    ends = f"the time to live of {plan.ttl:g} s ends before"
    return f"only {failed} at once: {ends}" if late else start


def why_not(plan: Explanation, candidate: Candidate) -> str:
    """Why a channel is not used, in words."""
    channel, own = candidate.channel, plan.rules.of(candidate.channel.type)
    match candidate.obstacle:
        case Obstacle.CLOSED:
            return f"closed: {_closed(channel)}"
        case Obstacle.PENDING:
            return "its address is not proved yet"
        case Obstacle.NOT_INSTALLED:
            return "it is not installed, or not configured, here"
        case Obstacle.NOT_CONNECTED:
            return "the device is not connected"
        case Obstacle.NOT_URGENT_ENOUGH:
            return f"the policy keeps it for urgency {own.least_urgency} and above"
        case Obstacle.TOO_COSTLY:
            most = plan.rules.most_cost or 0.0
            return f"with it the delivery could cost more than {most:g}, the policy's most_cost"
        case None:
            return ""


def end(plan: Explanation) -> str:
    """The end of a delivery that is not acknowledged, in words."""
    if plan.now_or_never:
        if not plan.steps:
            return "time to live 0: it expires at once, since no channel may be used"
        return f"time to live 0: it expires after {plan.ttl:g} s, and is not stored"
    if not plan.steps:
        return "stored until a channel comes that may be used; no channel may be now"
    return f"stored until the device comes back, {plan.ttl:g} s at most"


def _closed(channel: Channel) -> str:
    """Why a channel was closed, in words, without its address."""
    words = _CLOSED[channel.reason or CloseReason.DEACTIVATED]
    if channel.detail is None:
        return words
    detail = channel.detail.replace(channel.address, "…") if channel.address else channel.detail
    return f"{words} ({detail})"
