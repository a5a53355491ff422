"""What did not fit a client's backlog, counted until the client is told to resynchronise."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """Notifications of a client that failed as *backlog_full*.

    ``lost`` counts those that nobody was told of yet; ``told`` is what ``session`` was told.
    """

    client: str
    lost: int = 0
    told: int = 0
    session: str = ""

    def tell(self, session: str) -> Loss:
        """What is so once ``session`` was told: a new one hears of what was lost since, and the
        same one hears again what it was told.
        """
        if session == self.session:
            return self
        return replace(self, lost=0, told=self.lost, session=session)
