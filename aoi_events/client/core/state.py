"""The stored state of an AOI Client, which survives restarts, and its format on disk.

Secrets, tokens and challenge codes are stored here only; they stay out of every ``repr``. Every map
that a server, or a stranger with a phone, can make grow is bounded: beyond its limit the oldest
entry is removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from aoi_events.contracts.base import VersionOne
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.device import AckFrame
from aoi_events.contracts.requests import PreviousClient
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import ClientStateError
from aoi_events.oma_push.reassembly import WaitingPart

SEEN_LIMIT: Final = 512
"""Deliveries whose acknowledgement is stored, to drop their duplicates."""
PENDING_LIMIT: Final = 128
"""Acknowledgements that wait for a connection, and wake-ups: few enough to send at once."""
MAX_SEQUENCE: Final = 2**53 - 1
"""Largest sequence number that a request may carry."""

AckCode: TypeAlias = Literal["delivered", "no_such_application", "could_not_wake"]

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A registration; ``client`` is the AOI Client ID, None until the server has answered."""

    secret: str = field(repr=False)
    identity: str
    client: str | None = None


@dataclass(frozen=True, slots=True)
class ApplicationRecord:
    """An app instance. ``wanted``: it is to be registered, otherwise to be deregistered.

    ``due``: the server has not confirmed that yet. ``sequence`` is the last number of a command
    about this instance. ``sender_key``: only this sender may use the token; None: any sender.
    """

    application: str
    instance: str
    wanted: bool
    due: bool
    sequence: int = 0
    token: str | None = field(default=None, repr=False)
    sender_key: str | None = None

    @property
    def key(self) -> str:
        """The key of the app instance within the client."""
        return application_key(self.application, self.instance)


@dataclass(frozen=True, slots=True)
class Origin:
    """How a delivery came: the channel, and the attempt where the channel names it."""

    channel: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state that survives a restart.

    ``closed`` are the types of offered channels that the server closed, or could not open for now:
    they are offered again. ``activated`` is the digest of offers and circumstances that the server
    last confirmed (8.1.2); ``activating``: an activation is due, whatever that digest is. ``heard``
    is the last session in whose welcome the server reported lost notifications. ``previous`` is the
    registration that a new one replaces, as its proof. ``codes`` are challenge codes to confirm, by
    channel; ``wake_ups`` are deliveries whose content is to be fetched, and how they came; ``acks``
    wait for the next welcome; both are by delivery. ``parts`` are those of pushes whose other short
    messages are still to come.
    """

    version: VersionOne = 1
    credentials: Credentials | None = None
    previous: PreviousClient | None = None
    sequence: int = 0
    applications: dict[str, ApplicationRecord] = field(default_factory=dict)
    channels: tuple[SelectedChannel, ...] = ()
    closed: frozenset[str] = frozenset()
    activated: str | None = None
    activating: bool = False
    codes: dict[str, str] = field(default_factory=dict, repr=False)
    wake_ups: dict[str, Origin] = field(default_factory=dict)
    seen: dict[str, AckCode] = field(default_factory=dict)
    acks: dict[str, AckFrame] = field(default_factory=dict)
    parts: tuple[WaitingPart, ...] = field(default=(), repr=False)
    heard: str = ""

    @property
    def client(self) -> str | None:
        """The AOI Client ID, once assigned."""
        return None if self.credentials is None else self.credentials.client

    @property
    def active(self) -> frozenset[str]:
        """Types of the channels that are active."""
        return frozenset(c.type for c in self.channels if c.state == "active")

    @property
    def any_wanted(self) -> bool:
        """Whether any app instance wants notifications."""
        return any(record.wanted for record in self.applications.values())

    @property
    def renewing(self) -> bool:
        """Whether an app instance waits for its token, so that an unknown token may be its own."""
        return any(r.wanted and r.token is None for r in self.applications.values())

    def of_token(self, token: str) -> ApplicationRecord | None:
        """The app instance that has this token."""
        return next((r for r in self.applications.values() if r.token == token), None)

    def of_fingerprint(self, fingerprint: str) -> ApplicationRecord | None:
        """The app instance whose token has this fingerprint."""
        records = (r for r in self.applications.values() if r.token is not None)
        return next((r for r in records if fingerprint_of(r.token or "") == fingerprint), None)


def application_key(application: str, instance: str) -> str:
    """The key of an app instance within the client; neither name can contain a slash."""
    return f"{application}/{instance}"


def bounded(entries: dict[str, V], key: str, value: V, limit: int) -> dict[str, V]:
    """``entries`` with ``key`` as the newest, without the oldest beyond ``limit``."""
    after = entries.copy()
    after.pop(key, None)
    after[key] = value
    while len(after) > limit:
        del after[next(iter(after))]
    return after


class _Versioned(BaseModel):
    """The field that every stored format has."""

    version: int


def decode_versioned(form: TypeAdapter[V], data: bytes, *, what: str, remedy: str) -> V:
    """A stored value. Raises ClientStateError, which does not show what ``data`` contains."""
    try:
        # Another file may be a valid object without fields (``{}``); ours always has its version.
        _Versioned.model_validate_json(data)
        return form.validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole file"
        # "from None": the text of the validation error would quote the data.
        raise ClientStateError(f"{what} is damaged (at {where}); {remedy}") from None


_form: Final = TypeAdapter(StoredState)


def encode(stored: StoredState) -> bytes:
    """The format on disk: UTF-8 JSON."""
    return _form.dump_json(stored, exclude_none=True)


def decode(data: bytes) -> StoredState:
    """The state that :func:`encode` wrote. Raises ClientStateError for anything else."""
    return decode_versioned(
        _form,
        data,
        what="the stored state",
        remedy="restore it from a backup, or move it away to register as a new client, and apps "
        "get new tokens",
    )
