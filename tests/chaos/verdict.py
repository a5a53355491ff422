"""What became of all notifications, by rows, devices and events, each read by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.ledger import BRIEF, Notification

ROWS: Final = "SELECT notification, state FROM deliveries WHERE sender = %s"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Numbers of notifications; the names are of those that are wrong.

    ``confirmed`` by the broker, ``accepted``: with a row. ``lost``: confirmed, and it has no row,
    never ended, ended in another state than *delivered* although its time to live was long, or was
    not shown by the app although it is *delivered*. ``doubled``: an app was shown it twice, or one
    of another app. ``without_event`` ended, and no event says so; ``other_event``: an event says
    otherwise.
    """

    confirmed: int
    accepted: int
    delivered: int
    expired: int
    lost: Mapping[str, str]
    doubled: Sequence[str]
    without_event: Sequence[str]
    other_event: Sequence[str]


def judge(
    notifications: Mapping[str, Notification],
    rows: Sequence[tuple[str, str]],
    ends: Mapping[str, Sequence[str]],
    strange: Sequence[str],
) -> Verdict:
    """Compare what was sent with rows, what apps were shown, and events."""
    states = dict(rows)
    counts = Counter(states.values())
    confirmed = {name: each for name, each in notifications.items() if each.confirmed}
    lost = {
        name: why
        for name, each in confirmed.items()
        if (why := _lost(each, states.get(name))) is not None
    }
    doubled = [name for name, each in notifications.items() if len(each.shown) > 1]
    doubled += [name for name, count in Counter(name for name, _ in rows).items() if count > 1]
    return Verdict(
        confirmed=len(confirmed),
        accepted=len(states),
        delivered=counts["delivered"],
        expired=counts["expired"],
        lost=lost,
        doubled=[*doubled, *strange],
        without_event=[name for name in states if not ends.get(name)],
        other_event=[
            name for name, state in states.items() if ends.get(name) and ends[name][-1] != state
        ],
    )


def _lost(notification: Notification, state: str | None) -> str | None:
    """Why it counts as lost; None: it does not."""
    if state is None:
        return "no row"
    if state == "delivered":
        return None if notification.shown else "delivered and not shown"
    if state == "expired" and notification.ttl == BRIEF:
        return None
    return state
