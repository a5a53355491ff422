"""What would become of a notification for a token now: the plan, and why it is so.

Asks the very functions that make plans; nothing is written, and nothing of it is a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aoi_events.contracts.identifiers import Mode
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.applications import Application, token_owner
from aoi_events.domain.clients.channels import Channel, ChannelTraits
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.tokens import TokenKeys
from aoi_events.domain.planning.plans import Candidate, Demand, Obstacle, Step, candidates, mode_of
from aoi_events.domain.planning.policy import Policy, Rules
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.store import Store

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """``ttl`` in seconds, as the plan's end: of ``ttl=0`` the first step's time."""

    client: Client
    application: Application
    demand: Demand
    rules: Rules
    mode: Mode
    hedge_after: float
    ttl: float
    now_or_never: bool
    candidates: Sequence[Candidate]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The plan."""
        return tuple(each.step for each in self.candidates if each.step is not None)

    @property
    def cost(self) -> float:
        """What the plan costs if all of it is sent, once."""
        return sum(step.cost for step in self.steps)

    def mode_said_by(self) -> str:
        """Who decided on the mode."""
        if self.demand.mode is not None:
            return "as the sender wants"
        return "built in" if self.rules.mode is None else "as the policy says"

    def starts(self) -> list[str]:
        """When each step starts, in words."""
        told: list[str] = []
        # Seconds after which all steps so far are over, if each of them stays silent.
        silence = 0.0
        for index, step in enumerate(self.steps):
            told.append(self._start(index, silence))
            own = silence if step.start_after is None else min(step.start_after, silence)
            silence = max(silence, own + step.ack_within)
        return told

    def _start(self, index: int, silence: float) -> str:
        own = self.steps[index].start_after
        if index == 0 or own == 0:
            return "at once"
        before = " and ".join(step.channel for step in self.steps[:index])
        failed = f"when {before} failed"
        if own is None or own >= silence:
            said = f"{failed} or stayed silent, after {silence:g} s at the latest"
            late = silence >= self.ttl
        else:
            said = f"after {own:g} s unless acknowledged, or {failed}"
            late = own >= self.ttl
        ends = f"the time to live of {self.ttl:g} s ends before"
        return f"only {failed} at once: {ends}" if late else said

    def why_not(self, candidate: Candidate) -> str:
        """Why a channel is not used, in words."""
        channel, own = candidate.channel, self.rules.of(candidate.channel.type)
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
                most = self.rules.most_cost or 0.0
                return f"with it the delivery could cost more than {most:g}, the policy's most_cost"
            case None:
                return ""

    def end(self) -> str:
        """What becomes of it where nobody acknowledges, in words."""
        if self.now_or_never:
            if not self.steps:
                return "time to live 0: it expires at once, since no channel may be used"
            return f"time to live 0: it expires after {self.ttl:g} s, and is not stored"
        if not self.steps:
            return "stored until a channel comes that may be used; no channel may be now"
        return f"stored until the device comes back, {self.ttl:g} s at most"


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


def _closed(channel: Channel) -> str:
    """Why a channel was closed, in words, without its address."""
    words = _CLOSED[channel.reason or CloseReason.DEACTIVATED]
    if channel.detail is None:
        return words
    detail = channel.detail.replace(channel.address, "…") if channel.address else channel.detail
    return f"{words} ({detail})"


async def explain(
    store: Store,
    token: str,
    demand: Demand,
    *,
    ttl: int,
    keys: TokenKeys,
    traits: Mapping[str, ChannelTraits],
    policy: Policy,
) -> Explanation:
    """What would become of that ``demand`` for ``token`` with ``ttl`` seconds to live.

    Raises Refusal with the code that a sender would get, ConfigurationError (a key is missing).
    """
    claims = keys.verify(token)
    key = (claims.client, claims.app_key)
    async with store.transaction(read_only=True) as tx:
        client = (await tx.clients({claims.client})).get(claims.client)
        application = (await tx.applications({key})).get(key)
        channels: Sequence[Channel] = (await tx.channels({claims.client})).get(claims.client, ())
    application = token_owner(client, application, generation=claims.generation)
    if client is None or application is None:
        raise Refusal(ErrorCode.TOKEN_REVOKED, "this token is no longer valid")
    rules = policy.rules_for(application.application)
    mode, hedge_after = mode_of(demand, rules)
    found = candidates(channels, traits, demand, connected=client.presence is not None, rules=rules)
    first = next((each.step.ack_within for each in found if each.step is not None), 0.0)
    return Explanation(
        client,
        application,
        demand,
        rules,
        mode,
        hedge_after,
        float(ttl) if ttl > 0 else first,
        ttl == 0,
        found,
    )
