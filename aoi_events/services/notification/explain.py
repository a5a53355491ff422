"""The plan that a notification for a token would have now, and the reasons for it.

It uses the functions that make plans; it writes nothing, and its result contains no secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aoi_events.contracts.identifiers import Mode
from aoi_events.domain.clients.applications import Application, token_owner
from aoi_events.domain.clients.channels import Channel, ChannelTraits
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.tokens import TokenKeys
from aoi_events.domain.planning.plans import Candidate, Demand, Step, candidates, mode_of
from aoi_events.domain.planning.policy import Policy, Rules
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.store import Store


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan with its reasons. ``ttl`` in seconds, as the end of the plan: with ``ttl=0`` the first
    step's window.
    """

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
        """The steps of the plan."""
        return tuple(each.step for each in self.candidates if each.step is not None)

    @property
    def cost(self) -> float:
        """The cost of the plan if every step is sent once."""
        return sum(step.cost for step in self.steps)


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
    """Explain the plan of ``demand`` for ``token`` with ``ttl`` seconds to live.

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
