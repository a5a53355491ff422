"""What did not fit a client's backlog, counted until the client is told to resynchronise."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """Notifications of a client that failed as *backlog_full*.

    ``lost`` counts those that nobody was told of yet; ``told`` is what ``session`` was told, which
    may have ended before its device heard of it.
    """

    client: str
    lost: int = 0
    told: int = 0
    session: str = ""

    def tell(self, session: str, heard: str | None = None) -> Loss:
        """What is so once ``session`` was told: a new one hears of what was lost since, and the
        same one hears again what it was told.

        ``heard`` is the session in which the device was last told of something: where that is
        another one than was told last, it hears of that again. None: the device does not say, and
        is told once.
        """
        if session == self.session:
            return self
        unheard = 0 if heard in (None, self.session) else self.told
        return replace(self, lost=0, told=self.lost + unheard, session=session)
