"""What an AOI Client keeps across restarts, and its form on disk.

Secrets, tokens and challenge codes are in here and nowhere else; they stay out of every ``repr``.
Each map is bounded: what a server or a stranger with a phone can make grow has a limit, beyond
which the oldest entry goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from aoi_events.contracts.answers import SelectedChannel
from aoi_events.contracts.base import VersionOne
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import ClientStateError
from aoi_events.oma_push.reassembly import WaitingPart

__all__ = [
    "KEPT_LIMIT",
    "MAX_SEQUENCE",
    "SEEN_LIMIT",
    "AckCode",
    "ApplicationRecord",
    "Credentials",
    "Earlier",
    "KeptAck",
    "Stored",
    "WakeUp",
    "application_key",
    "bounded",
    "decode",
    "encode",
]

SEEN_LIMIT: Final = 512
"""Deliveries whose acknowledgement is remembered, to drop their duplicates."""
KEPT_LIMIT: Final = 128
"""Acknowledgements and wake-ups that wait for a connection, of each: few enough to send at once."""
MAX_SEQUENCE: Final = 2**53 - 1
"""Largest sequence number that a request may carry."""

AckCode: TypeAlias = Literal["delivered", "no_such_application", "could_not_wake"]

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A registration: ``client`` is the assigned AOI Client ID, None until the server answered."""

    secret: str = field(repr=False)
    identity: str
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """The registration that a new one replaces: its ID and secret prove it to the server."""

    client: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApplicationRecord:
    """One app instance. ``wanted``: it asked for notifications (else it gave them up).

    ``due``: the server has still to be told. ``sequence`` is the last number used for a command
    about this instance. ``sender_key``: whose notifications the token takes, None for anybody's.
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
        """Names the instance within the client."""
        return application_key(self.application, self.instance)


@dataclass(frozen=True, slots=True)
class KeptAck:
    """An acknowledgement to send after the next welcome."""

    delivery: str
    code: AckCode
    channel: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class WakeUp:
    """A delivery whose content waits to be fetched, and how the device was told."""

    fingerprint: str
    channel: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything that survives a restart.

    ``activated`` is the digest of offers and circumstances that the server last confirmed (8.1.2);
    ``activating``: an activation is wanted whatever that digest says. ``heard`` is the session in
    which the server said last that notifications were lost. ``codes`` are challenge codes
    to confirm, by channel; ``wake_ups`` and ``acks`` are by delivery; ``parts`` are those of pushes
    whose other short messages are still to come.
    """

    version: VersionOne = 1
    credentials: Credentials | None = None
    previous: Earlier | None = None
    sequence: int = 0
    applications: dict[str, ApplicationRecord] = field(default_factory=dict)
    channels: tuple[SelectedChannel, ...] = ()
    activated: str | None = None
    activating: bool = False
    codes: dict[str, str] = field(default_factory=dict, repr=False)
    wake_ups: dict[str, WakeUp] = field(default_factory=dict)
    seen: dict[str, AckCode] = field(default_factory=dict)
    acks: dict[str, KeptAck] = field(default_factory=dict)
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
        """Whether some app instance waits for its token, so that an unknown one may be its."""
        return any(r.wanted and r.token is None for r in self.applications.values())

    def of_token(self, token: str) -> ApplicationRecord | None:
        """The app instance of a token."""
        return next((r for r in self.applications.values() if r.token == token), None)

    def of_fingerprint(self, fingerprint: str) -> ApplicationRecord | None:
        """The app instance of the token that has this fingerprint."""
        records = (r for r in self.applications.values() if r.token is not None)
        return next((r for r in records if fingerprint_of(r.token or "") == fingerprint), None)


def application_key(application: str, instance: str) -> str:
    """Names an app instance within the client; neither name can hold a slash."""
    return f"{application}/{instance}"


def bounded(entries: dict[str, V], key: str, value: V, limit: int) -> dict[str, V]:
    """``entries`` with ``key`` as the newest, and without the oldest beyond ``limit``."""
    after = entries.copy()
    after.pop(key, None)
    after[key] = value
    while len(after) > limit:
        del after[next(iter(after))]
    return after


class _Marked(BaseModel):
    """What every form of ours says of itself."""

    version: int


_form: Final = TypeAdapter(Stored)


def encode(stored: Stored) -> bytes:
    """The form on disk: UTF-8 JSON."""
    return _form.dump_json(stored, exclude_none=True)


def decode(data: bytes) -> Stored:
    """What was stored. Raises ClientStateError for anything that :func:`encode` did not write."""
    try:
        # The form always says its version; an object without it (``{}``, say) is not ours.
        _Marked.model_validate_json(data)
        return _form.validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        # "from None": the validation error's text would show what the file holds.
        raise ClientStateError(
            f"the stored state is damaged (at {where}); restore it from a backup, or move it away "
            "to register as a new client, and apps get new tokens"
        ) from None
