"""Queries about notifications and submissions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from aoi_events.domain.notifications import Notification
from aoi_events.ports.store import Submission
from aoi_events.store import records
from aoi_events.store.queries import Queries
from aoi_events.store.records import NOTIFICATIONS, SUBMISSIONS

__all__ = ["NotificationQueries", "SubmissionQueries"]


class NotificationQueries(Queries):
    """What senders asked for."""

    async def notifications(
        self, keys: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Notification]:
        """Notifications by (sender, ID)."""
        found = await self._find(NOTIFICATIONS, keys)
        return {(notification.sender, notification.id): notification for notification in found}

    async def add_notifications(
        self, notifications: Sequence[Notification]
    ) -> Collection[tuple[str, str]]:
        """Insert those whose (sender, ID) is new; returns the keys that were inserted."""
        added = await self._insert_new(NOTIFICATIONS, notifications)
        return {(sender, identifier) for sender, identifier in added}


class SubmissionQueries(Queries):
    """The port's section "channel workers"."""

    async def add_submissions(
        self, submissions: Sequence[Submission]
    ) -> Collection[tuple[str, int, int]]:
        """Note submissions; returns the (delivery, step, attempt) keys that were new."""
        added = await self._insert_new(SUBMISSIONS, submissions)
        return {(delivery, step, attempt) for delivery, step, attempt in added}

    async def note_provider_messages(self, submissions: Sequence[Submission]) -> None:
        """Fill in what the provider calls these submissions."""
        if submissions:
            names = (*SUBMISSIONS.keys, "provider_message")
            statement = records.change(self._sql, SUBMISSIONS, names)
            await self._give(statement, SUBMISSIONS.rows(submissions, names))

    async def submissions_of(
        self, provider: str, messages: Collection[str]
    ) -> Mapping[str, Submission]:
        """Submissions by the provider's message ID; the newest, where a provider reuses one."""
        keys = [(provider, message) for message in messages]
        found = await self._find(SUBMISSIONS, keys, ("provider", "provider_message"))
        found.sort(key=lambda submission: submission.at)
        return {s.provider_message: s for s in found if s.provider_message is not None}
