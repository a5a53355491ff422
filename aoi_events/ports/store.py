"""The store port: it owns the state and the time. Every query is for a batch.

One implementation serves SQLite and PostgreSQL and passes ``tests/conformance/store`` on both. All
methods of a transaction raise StoreUnavailable for faults of the database; nothing else is caught.

Locks are taken in a fixed order so that workers cannot deadlock: clients first, then deliveries,
each in key order. On SQLite a transaction is ``BEGIN IMMEDIATE``: one writer at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from aoi_events.domain.clients.applications import Application
from aoi_events.domain.clients.channels import Channel, Proof
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.losses import Loss
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.notifications import Notification
from aoi_events.domain.parked import ParkedMessage
from aoi_events.domain.providers.health import ProviderHealth
from aoi_events.domain.providers.message_ids import folded


class Lock(Enum):
    """How rows are locked until the end of the transaction."""

    NONE = "none"
    SHARED = "shared"
    EXCLUSIVE = "exclusive"


@dataclass(frozen=True, slots=True)
class Submission:
    """A channel worker's note that it hands (delivery, step, attempt) to its provider."""

    delivery: str
    step: int
    attempt: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ProviderMessage:
    """The provider's ID of part ``part`` (from 1) of the ``parts`` of a submission, for receipts.
    ``received``: the device has it. ``address``: what a receipt names that spells the ID otherwise.
    """

    delivery: str
    step: int
    attempt: int
    part: int
    parts: int
    provider: str
    message: str
    client: str
    at: datetime
    received: bool = False
    address: str = ""

    @property
    def folded(self) -> str:
        """The message ID without its case and padding."""
        return folded(self.message)

    @property
    def submission(self) -> tuple[str, int, int]:
        """The key of the submission."""
        return self.delivery, self.step, self.attempt


@dataclass(frozen=True, slots=True)
class Release:
    """A batch of deliveries was made due: which client, and how many."""

    client: str
    batch: int
    count: int


class Kind(Enum):
    """The kinds of rows that are removed after an age of their own."""

    DELIVERIES = "deliveries"
    """Settled and published; a notification is removed with the last of its deliveries."""
    NOTIFICATIONS = "notifications"
    """Accepted, without any delivery: cancelled before they came, say."""
    SUBMISSIONS = "submissions"
    """With the message IDs of providers."""
    CHALLENGES = "challenges"
    """They are counted for an hour, far less than any retention."""
    PARKED = "parked"
    CLIENTS = "clients"
    """Retired and published, with no open delivery."""


class Transaction(Protocol):
    """One transaction; commits at the end of its ``async with`` block, or nothing happened."""

    # --- clients ----------------------------------------------------------------------------

    async def clients(self, ids: Collection[str], lock: Lock = Lock.NONE) -> Mapping[str, Client]:
        """Clients by ID, retired ones included, locked in key order."""

    async def clients_by_secret(self, hashes: Collection[str]) -> Mapping[str, Client]:
        """Clients by the hash of their secret, retired ones included."""

    async def add_clients(self, clients: Sequence[Client]) -> Collection[str]:
        """Insert those whose ID is new; returns the IDs that were inserted."""

    async def save_clients(self, clients: Sequence[Client]) -> None:
        """Insert or replace, by ID."""

    async def expired_clients(
        self, *, unused_before: datetime, silent_before: datetime, limit: int
    ) -> Collection[str]:
        """IDs of clients that were last active before ``silent_before``, or, where they never
        connected nor activated, before ``unused_before``; at most ``limit`` of each, the oldest.
        """

    async def clients_with_unpublished_end(self, before: datetime, limit: int) -> Sequence[str]:
        """IDs of clients whose end was due to be published before then."""

    async def count_clients(
        self, identities: Collection[str], *, since: datetime
    ) -> Mapping[str, int]:
        """How many clients were registered for each identity since then (absent: none; a quota)."""

    # --- applications -----------------------------------------------------------------------

    async def applications(
        self, keys: Collection[tuple[str, str]], lock: Lock = Lock.NONE
    ) -> Mapping[tuple[str, str], Application]:
        """App instances by (client, app_key)."""

    async def applications_of(self, clients: Collection[str]) -> Sequence[Application]:
        """Every app instance of these clients."""

    async def save_applications(self, applications: Sequence[Application]) -> None:
        """Insert or replace, by (client, app_key)."""

    async def count_applications(self, clients: Collection[str]) -> Mapping[str, tuple[int, int]]:
        """How many app instances each client has, and how many that ended are remembered (bounds;
        absent: neither).
        """

    async def drop_applications(self, keys: Collection[tuple[str, str]]) -> None:
        """Remove app instances by (client, app_key)."""

    async def token_keys_in_use(self) -> Mapping[str, int]:
        """Token key ID → how many tokens that are valid now were made with it."""

    async def token_samples(self) -> Sequence[Application]:
        """For each token key in use one app instance whose token was made with it."""

    # --- channels and proofs ----------------------------------------------------------------

    async def channels(self, clients: Collection[str]) -> Mapping[str, Sequence[Channel]]:
        """Every channel of each client that has any, closed ones included, best rank first."""

    async def save_channels(self, channels: Sequence[Channel]) -> None:
        """Insert or replace, by (client, type)."""

    async def drop_channels(self, keys: Collection[tuple[str, str]]) -> None:
        """Remove channels by (client, type), once the client knows that they are closed."""

    async def proofs(self, clients: Collection[str]) -> Mapping[str, Sequence[Proof]]:
        """Every proof of each client that has any."""

    async def proofs_of_addresses(self, addresses: Collection[tuple[str, str]]) -> Sequence[Proof]:
        """Every proof, of any client, of these (channel, address) pairs."""

    async def save_proofs(self, proofs: Sequence[Proof]) -> None:
        """Insert or replace, by (client, channel, address)."""

    async def drop_proofs(self, keys: Collection[tuple[str, str, str]]) -> None:
        """Remove proofs by (client, channel, address)."""

    async def claim_due_proofs(
        self, now: datetime, limit: int, *, until: datetime
    ) -> Sequence[tuple[str, str, str]]:
        """(client, channel, address) of proofs whose deadline has come, earliest first.

        Their deadline becomes ``until``, so that no other worker looks meanwhile, and one does
        if this one dies. Rows that others hold are skipped. Commit soon after: locks are taken in
        another order here than elsewhere.
        """

    async def count_challenges(
        self,
        *,
        since: datetime,
        channel: str | None = None,
        address: str | None = None,
        client: str | None = None,
    ) -> int:
        """How many challenges were sent since then, overall or narrowed (a limit)."""

    async def note_challenges(self, sent: Sequence[tuple[Proof, datetime]]) -> None:
        """Count challenges that go out now."""

    # --- notifications and deliveries -------------------------------------------------------

    async def notifications(
        self, keys: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Notification]:
        """Notifications by (sender, ID)."""

    async def add_notifications(
        self, notifications: Sequence[Notification]
    ) -> Collection[tuple[str, str]]:
        """Insert those whose (sender, ID) is new; returns the keys that were inserted."""

    async def deliveries(
        self, ids: Collection[str], lock: Lock = Lock.NONE
    ) -> Mapping[str, Delivery]:
        """Deliveries by ID, locked in key order."""

    async def deliveries_named(self, notification: str) -> Sequence[Delivery]:
        """All deliveries of any sender's notification of that ID (for operators), in ID order."""

    async def deliveries_of(self, sender: str, notification: str) -> Sequence[Delivery]:
        """All deliveries of a notification, in ID order."""

    async def add_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Insert; the store assigns ``order`` in the sequence's order. IDs are new."""

    async def save_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Replace what may change of these rows (everything but identity and acceptance)."""

    async def claim_due(
        self, now: datetime, limit: int, *, until: datetime
    ) -> Mapping[str, datetime | None]:
        """IDs of deliveries whose deadline has come, earliest first, and that deadline (None: the
        delivery was released, and was due at once); it becomes ``until``.

        What was released as one batch is claimed by one worker, all that is due of it, so that its
        order holds: so there may be more than ``limit``, by what a release makes due at most.
        As with :meth:`claim_due_proofs`, rows that others hold are skipped, and the caller commits
        at once and locks what it needs, in the usual order, in the next transaction.
        """

    async def mark_published(self, held: Sequence[tuple[str, datetime, datetime | None]]) -> None:
        """Note that the effects of rows were published: (ID, its old deadline, its new deadline);
        only of rows that are still unpublished under that very deadline.
        """

    async def postpone(self, moved: Sequence[tuple[Delivery, Delivery]]) -> None:
        """Write later times (before, after) where steps and deadline are still as before."""

    async def open_deliveries_of(self, clients: Collection[str]) -> Sequence[Delivery]:
        """Every delivery of these clients that is not settled, locked in key order."""

    async def open_of_topics(
        self, keys: Collection[tuple[str, str, str, str]]
    ) -> Sequence[Delivery]:
        """Deliveries not settled by (client, fingerprint, sender, topic), locked in key order.
        The caller holds the clients' rows exclusively, so that there are no more of them until it
        has committed.
        """

    async def count_deferred(self, clients: Collection[str]) -> Mapping[str, int]:
        """The number of deferred deliveries of each client; absent: none (Delivery.deferred)."""

    async def release(
        self, clients: Collection[str], *, now: datetime, limit: int
    ) -> Sequence[Release]:
        """Make the first ``limit`` idle deliveries of each client due, as one new batch each.

        Idle: not settled and no attempt under way, in ``order``. Their ``deadline`` becomes
        ``now`` and ``released`` true. The caller holds the clients' rows.
        """

    async def release_following(
        self, batches: Collection[tuple[str, int]], *, now: datetime, limit: int
    ) -> Sequence[Release]:
        """For each (client, batch) with no delivery left that is released or under way: make the
        next ``limit`` idle deliveries after the batch's last due, as a new batch.
        """

    # --- losses -----------------------------------------------------------------------------

    async def count_lost(self, counts: Mapping[str, int]) -> None:
        """Add to the lost notifications of each client; these rows are locked last of all.

        The caller holds the clients' rows, shared at least.
        """

    async def losses(self, clients: Collection[str]) -> Mapping[str, Loss]:
        """The losses of those of these clients that ever lost a notification.

        Who changes it (:meth:`save_losses`) holds the clients' rows exclusively.
        """

    async def save_losses(self, losses: Sequence[Loss]) -> None:
        """Insert or replace, by client."""

    # --- channel workers --------------------------------------------------------------------

    async def add_submissions(
        self, submissions: Sequence[Submission]
    ) -> Collection[tuple[str, int, int]]:
        """Note submissions; returns the (delivery, step, attempt) keys that were new."""

    async def submitted(
        self, submissions: Collection[tuple[str, int, int]]
    ) -> Collection[tuple[str, int, int]]:
        """Those of these (delivery, step, attempt) keys that were noted."""

    async def note_provider_messages(self, messages: Sequence[ProviderMessage]) -> None:
        """Insert those whose (delivery, step, attempt, part) is new."""

    async def note_received(self, messages: Sequence[ProviderMessage]) -> None:
        """Mark these as received by the device, according to receipts."""

    async def provider_messages(
        self, provider: str, messages: Collection[str]
    ) -> Mapping[str, ProviderMessage]:
        """By the provider's message ID; the newest, where a provider uses one again."""

    async def spelled(self, provider: str, ids: Collection[str]) -> Sequence[ProviderMessage]:
        """All that have one of these folded message IDs."""

    async def parts_received(
        self, submissions: Collection[tuple[str, int, int]]
    ) -> Mapping[tuple[str, int, int], int]:
        """How many parts of each submission the device received (absent: none)."""

    # --- health ----------------------------------------------------------------------------

    async def note_health(
        self, channel: str, worker: str, found: Sequence[ProviderHealth], *, forget: datetime
    ) -> None:
        """Replace the health rows of that worker; remove those of all from before ``forget``."""

    async def health(self, since: datetime) -> Sequence[ProviderHealth]:
        """Health rows written since then, by channel, provider and worker."""

    async def count_awaiting_provider(self, limit: int) -> Mapping[str, int]:
        """By channel, how many deliveries wait for a provider that is down; counts at most
        ``limit`` deliveries.
        """

    # --- parked messages --------------------------------------------------------------------

    async def park(self, messages: Sequence[ParkedMessage], *, quota: int) -> Collection[str]:
        """Park messages, at most ``quota`` per sender; the rest is counted only.

        Returns the IDs of those that were stored. A message whose ID is known already changes
        nothing.
        """

    async def parked(
        self, *, ids: Collection[str] | None = None, limit: int = 100
    ) -> Sequence[ParkedMessage]:
        """Parked messages, newest first."""

    async def drop_parked(self, ids: Collection[str]) -> int:
        """Remove parked messages; returns how many there were."""

    async def parked_counts(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """(sender, code) → how many are stored, and how many were counted only."""

    # --- retention --------------------------------------------------------------------------

    async def retain(self, kind: Kind, *, before: datetime, limit: int) -> int:
        """Remove at most ``limit`` rows of a kind that ended before then; returns how many.

        Rows that others hold stay for another time. Each batch is worth a transaction of its own:
        it is short, and what one kind cannot do now keeps no other.
        """


class Store(Protocol):
    """The database, as workers use it."""

    def transaction(self, *, read_only: bool = False) -> AbstractAsyncContextManager[Transaction]:
        """A new transaction."""

    async def check(self, *, rights: bool = False) -> None:
        """Check that it can be used.

        Raises StoreUnavailable when it cannot be reached, or (``rights``) takes no writes now;
        ConfigurationError when its schema is not the one that this version needs, or (``rights``)
        its user may not write there; it says what mends it.
        """

    async def now(self) -> datetime | None:
        """The time by the database's own clock, in UTC; None when it has none but this machine's.

        Raises StoreUnavailable.
        """

    async def close(self) -> None:
        """Close all connections. Idempotent."""
