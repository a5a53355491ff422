"""The settings of the services; bootstrap fills them from the operator's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.domain.clients.proofs import ProofPolicy
from aoi_events.domain.clients.selection import SelectionPolicy
from aoi_events.domain.clients.tokens import TokenKeys
from aoi_events.domain.planning.policy import Policy, Rules
from aoi_events.domain.retry import Backoff
from aoi_events.ports.channel import ChannelPlugin, Confirming


class IdentityCheck(Protocol):
    """Checks signed assertions of user identities."""

    def check(self, assertion: str | None, identity: str, now: datetime) -> None:
        """Raises Refusal (identity_unproved) unless ``assertion`` proves ``identity`` now."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The operator's choices. Times in seconds.

    ``backlog``: stored deliveries per client. ``release``: deliveries made due at once when a
    device comes back. ``hold``: until an unpublished change is published again, and until a claimed
    deadline is processed by another worker. ``clients_per_identity``: registrations a day.
    ``applications_per_client``: registered app instances; as many ended ones stay stored.
    """

    selection: SelectionPolicy = SelectionPolicy()
    proofs: ProofPolicy = ProofPolicy()
    retry: Backoff = Backoff()
    backlog: int = 1_000
    release: int = 50
    hold: float = 5.0
    poll: float = 0.2
    clients_per_identity: int = 50
    applications_per_client: int = 1_000
    parked_per_sender: int = 1_000
    keep_settled: float = 7 * 86_400
    keep_unused: float = 30 * 86_400
    keep_silent: float = 400 * 86_400
    retain_every: float = 60.0


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Keys, channel plug-ins with their traits, and policies.

    ``identities``: how assertions of user identities are checked, if they are required.
    ``gateways`` are the broker users that may act for sessions, ``endpoints`` those that may act
    for senders. ``rules``: the rules for the plans of an application, read anew for each plan.
    ``channels`` are the plug-ins' settings; ``confirming`` (of the activation worker only) are the
    details for their devices; both by type.
    """

    token_keys: TokenKeys
    challenge_key: bytes = field(repr=False)
    plugins: Mapping[str, ChannelPlugin]
    traits: Mapping[str, ChannelTraits]
    gateways: frozenset[str]
    endpoints: frozenset[str] = frozenset()
    policies: Policies = Policies()
    rules: Callable[[str], Rules] = Policy().rules_for
    identities: IdentityCheck | None = None
    channels: Mapping[str, Any] = field(default_factory=dict, repr=False)
    confirming: Mapping[str, Confirming] = field(default_factory=dict)
