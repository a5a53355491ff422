"""The count of notifications that exceeded a client's backlog, until the client is asked to
resynchronise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Loss:
    """The count of a client's notifications that failed as *backlog_full*.

    ``lost`` counts those that no session has received a report of; ``reported`` is the count that
    ``session`` received, which may have ended before its device read it.
    """

    client: str
    lost: int = 0
    reported: int = 0
    session: str = ""

    def report_to(self, session: str, heard: str | None = None) -> Loss:
        """The counts after the report to ``session``: a new session receives the losses since the
        last report, and the same session receives the same count again.

        ``heard`` is the session in which the device last received a report: if that is not the one
        that was last reported to, the count of the latter is included again. None: the device does
        not say, and each loss is reported once.
        """
        if session == self.session:
            return self
        repeated = 0 if heard in (None, self.session) else self.reported
        return replace(self, lost=0, reported=self.lost + repeated, session=session)
