"""Queries about notifications and submissions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from aoi_events.domain.notifications import Notification
from aoi_events.ports.store import ProviderMessage, Submission
from aoi_events.store import records
from aoi_events.store.queries import Queries
from aoi_events.store.records import NOTIFICATIONS, PROVIDER_MESSAGES, SUBMISSIONS


class NotificationQueries(Queries):
    """The notifications of the port's section "notifications and deliveries"."""

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

    async def submitted(
        self, submissions: Collection[tuple[str, int, int]]
    ) -> Collection[tuple[str, int, int]]:
        """Those of these (delivery, step, attempt) keys that were noted."""
        found = await self._find(SUBMISSIONS, submissions)
        return {(each.delivery, each.step, each.attempt) for each in found}

    async def note_provider_messages(self, messages: Sequence[ProviderMessage]) -> None:
        """Insert those whose (delivery, step, attempt, part) is new."""
        await self._insert_new(PROVIDER_MESSAGES, messages)

    async def note_received(self, messages: Sequence[ProviderMessage]) -> None:
        """Mark parts as received by the device."""
        if messages:
            names = (*PROVIDER_MESSAGES.keys, "received")
            received = [replace(message, received=True) for message in messages]
            statement = records.change(self._sql, PROVIDER_MESSAGES, names)
            await self._run_with_rows(statement, PROVIDER_MESSAGES.rows(received, names))

    async def provider_messages(
        self, provider: str, messages: Collection[str]
    ) -> Mapping[str, ProviderMessage]:
        """Messages by the provider's message ID; the newest, if a provider uses an ID again."""
        keys = [(provider, message) for message in messages]
        found = await self._find(PROVIDER_MESSAGES, keys, ("provider", "message"))
        found.sort(key=lambda message: message.at)
        return {message.message: message for message in found}

    async def spelled(self, provider: str, ids: Collection[str]) -> Sequence[ProviderMessage]:
        """All messages with one of these folded message IDs."""
        keys = [(provider, each) for each in ids]
        return await self._find(PROVIDER_MESSAGES, keys, ("provider", "folded"))

    async def parts_received(
        self, submissions: Collection[tuple[str, int, int]]
    ) -> Mapping[tuple[str, int, int], int]:
        """The number of received parts of each submission (absent: none)."""
        found = await self._find(PROVIDER_MESSAGES, submissions, ("delivery", "step", "attempt"))
        return Counter(message.submission for message in found if message.received)
