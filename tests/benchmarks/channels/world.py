"""The modelled world of one notification: its device's connection, and its short messages.

Every draw comes from a seed, the notification's number and what is drawn, so that each plan meets
the very same world, and a run can be repeated anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from random import Random


@dataclass(frozen=True, slots=True)
class Spread:
    """A log-normal time: its ``median`` in seconds, and ``sigma`` of its logarithm."""

    median: float
    sigma: float

    def draw(self, dice: Random) -> float:
        """Seconds."""
        return dice.lognormvariate(log(self.median), self.sigma)


@dataclass(frozen=True, slots=True)
class World:
    """How long things take, and how often they fail; chosen, not measured, and told in the report.

    ``noticed_within``: seconds after which the gateway's pings find a dead connection. ``away``:
    mean seconds until the device is connected again, exponential. ``connection``, ``sms``: from the
    gateway, or the SMSC, to the app. ``sms_lost``: share of short messages that the SMSC takes and
    the device never gets.
    """

    noticed_within: float = 40.0
    away: float = 300.0
    connection: Spread = Spread(median=0.05, sigma=0.6)
    sms: Spread = Spread(median=4.0, sigma=0.8)
    sms_lost: float = 0.01

    def fate(self, seed: int, number: int) -> Fate:
        """What notification ``number`` meets."""
        dice = Random(f"{seed}/{number}")
        return Fate(
            self,
            f"{seed}/{number}",
            dies_at=dice.random(),
            noticed_at=dice.uniform(0.0, self.noticed_within),
            back_at=dice.expovariate(1 / self.away),
        )


@dataclass(frozen=True, slots=True)
class Fate:
    """What one notification meets; times in seconds from its acceptance.

    ``dead``: the connection had died without a word, as it does where a larger share than
    ``dies_at`` (0 to 1) of all does. The gateway finds out at ``noticed_at``, or when the device is
    connected again, at ``back_at``.
    """

    world: World
    seed: str
    dies_at: float
    noticed_at: float
    back_at: float
    dead: bool = False

    def connected(self, at: float) -> bool:
        """Whether the device is really connected then."""
        return not self.dead or at >= self.back_at

    def over_connection(self, attempt: int) -> float:
        """Seconds from the gateway to the app."""
        return self.world.connection.draw(self._dice("connection", attempt))

    def over_sms(self, attempt: int) -> float | None:
        """Seconds from the SMSC to the app; None: it never arrives."""
        dice = self._dice("sms", attempt)
        lost = dice.random() < self.world.sms_lost
        return None if lost else self.world.sms.draw(dice)

    def _dice(self, what: str, attempt: int) -> Random:
        return Random(f"{self.seed}/{what}/{attempt}")
