"""The operator's rules for plans: per application, and per channel.

Two kinds. A *default* applies if the sender does not choose: ``mode``, ``hedge_after``. All others
are the operator's alone, and no sender can override them: the order of the channels, how long each
may take to acknowledge, and the bounds: how urgent a notification must be for a channel, how large
its content, and what may be spent. An application's own rules come before the rules for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from aoi_events.contracts.identifiers import Mode, Urgency

_URGENCY: Final = {Urgency.VERY_LOW: 1, Urgency.LOW: 2, Urgency.NORMAL: 3, Urgency.HIGH: 4}


def urgent_enough(urgency: Urgency, least: Urgency) -> bool:
    """Whether ``urgency`` is ``least`` or more."""
    return _URGENCY[urgency] >= _URGENCY[least]


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """Rules for one channel type; None: no rule, so the channel's own value applies.

    ``least_urgency``: less urgent notifications never use it. ``ack_within``: seconds that an
    attempt may wait for the acknowledgement. ``largest``: octets of content; larger content becomes
    a wake-up. ``cost``: of one message, in the unit of all costs.
    """

    least_urgency: Urgency | None = None
    ack_within: float | None = None
    largest: int | None = None
    cost: float | None = None

    def before(self, other: ChannelRules) -> ChannelRules:
        """These rules, completed with the ``other`` ones."""
        return replace(other, **_own(self))


_NOTHING_SAID: Final = ChannelRules()


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules for the plans of one application, or of all; None: no rule.

    ``preference``: channel types, best first, before all that it does not name. ``most_cost``: the
    most that the messages of one delivery may cost together.
    """

    mode: Mode | None = None
    hedge_after: float | None = None
    preference: tuple[str, ...] | None = None
    most_cost: float | None = None
    channels: Mapping[str, ChannelRules] = field(default_factory=dict)

    def of(self, channel: str) -> ChannelRules:
        """The rules for a channel type."""
        return self.channels.get(channel, _NOTHING_SAID)

    def before(self, other: Rules) -> Rules:
        """These rules, completed with the ``other`` ones."""
        channels = {
            channel: self.of(channel).before(other.of(channel))
            for channel in {**other.channels, **self.channels}
        }
        return replace(other, **_own(self) | {"channels": channels})


NO_RULES: Final = Rules()
"""Every channel is used as it says of itself."""


class Policy:
    """The rules for all applications, and those of single applications."""

    def __init__(
        self, rules: Rules = NO_RULES, applications: Mapping[str, Rules] | None = None
    ) -> None:
        self._rules = rules
        self._applications = {name: own.before(rules) for name, own in (applications or {}).items()}

    @property
    def applications(self) -> tuple[str, ...]:
        """The applications that have rules of their own."""
        return tuple(self._applications)

    def rules_for(self, application: str) -> Rules:
        """The rules that apply to an application."""
        return self._applications.get(application, self._rules)


def _own(rules: ChannelRules | Rules) -> dict[str, Any]:
    """The rules that there are, by name."""
    every = ((each.name, getattr(rules, each.name)) for each in fields(rules))
    return {name: rule for name, rule in every if rule is not None}
