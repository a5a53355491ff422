"""The app protocol: JSON objects, one a line, between apps of a device and its AOI Client (8.1).

An app connects to the AOI Client's Unix socket and sends one object after the other; each but
``ack`` is answered, in order. After ``attach`` the connection belongs to that app instance: it gets
its notifications there and acknowledges each, until either end closes. An ``error`` is the last
thing that the AOI Client says on a connection.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field, TypeAdapter

from aoi_events.contracts.base import BUILT_WHEN_USED, Instant, Request, Tolerant
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import (
    ApplicationName,
    ClientId,
    DeliveryId,
    Fingerprint,
    InstanceName,
    NotificationId,
    SenderKeyInput,
    TokenText,
    Urgency,
    UserIdentity,
)

MAX_LINE: Final = 32 * 1024
"""Longest line of an app in octets; as long as a device's frame."""
MAX_WAIT: Final = 60.0
"""Longest time in seconds that a request may ask to wait for the AOI Server."""
_ARGUMENTS: Final = 64
_COMMAND_LENGTH: Final = 4096

Argument = Annotated[str, Field(max_length=2048, pattern=r"^[^\x00]*$")]
"""One argument of a command; no shell reads it."""


def _bounded(command: tuple[str, ...]) -> tuple[str, ...]:
    if sum(map(len, command)) > _COMMAND_LENGTH:
        raise ValueError(f"a command may have {_COMMAND_LENGTH} characters; write a script")
    return command


Command = Annotated[tuple[Argument, ...], Field(max_length=_ARGUMENTS), AfterValidator(_bounded)]
"""A program (its path, or a name to be found in ``PATH``) and its arguments; empty: none."""
Wait = Annotated[float, Field(ge=0, le=MAX_WAIT, strict=False)]
"""Seconds to wait for the AOI Server."""
UserId = Annotated[int, Field(ge=0, le=2**32 - 2)]
"""A user of the machine."""


class _AboutApp(Request):
    application: ApplicationName
    instance: InstanceName = "default"


class AttachV1(_AboutApp):
    """``attach``: this connection is the running app instance now (8.1.3).

    It must be registered, with ``register``. Another connection that was attached for it is
    detached.
    """

    type: Literal["attach"] = "attach"


class AcknowledgeV1(Request):
    """``ack``: the outcome of a notification.

    ``delivered``: the app has it. ``could_not_wake``: it cannot take it now; the AOI Server stores
    it until the app attaches, or the device connects again.
    """

    type: Literal["ack"] = "ack"
    delivery: DeliveryId
    code: Literal["delivered", "could_not_wake"] = "delivered"


class RegisterAppV1(_AboutApp):
    """``register``: register an app instance, which need not run (8.1.3).

    ``command`` starts it for a notification; absent: unchanged. ``owner`` is the user who may
    attach for it; absent: unchanged, or the user who asks. Only the AOI Client's own user and root
    may set these two. With ``sender_key`` (a VAPID public key) only a sender that proves this key
    may send to the token; another key means another token; absent: unchanged.
    """

    type: Literal["register"] = "register"
    command: Command | None = None
    owner: UserId | None = None
    sender_key: SenderKeyInput | None = None
    wait: Wait = 0.0


class UnregisterAppV1(_AboutApp):
    """``unregister``: the app instance was removed; its token is void at once on this device."""

    type: Literal["unregister"] = "unregister"
    wait: Wait = 0.0


class ListAppsV1(Request):
    """``apps``: list the registered app instances; an app sees only those that its user owns."""

    type: Literal["apps"] = "apps"


class QueryClientV1(Request):
    """``status``: report the state of the AOI Client."""

    type: Literal["status"] = "status"


class SetIdentityV1(Request):
    """``set_identity``: the device has another user now (8.1.1)."""

    type: Literal["set_identity"] = "set_identity"
    identity: UserIdentity


class Attached(Tolerant):
    """``attached``: the app receives notifications from now on. ``token`` is absent until there is
    one.
    """

    type: Literal["attached"] = "attached"
    application: str
    instance: str
    token: TokenText | None = None


class TokenChanged(Tolerant):
    """``token``: the app instance's token from now on; hand it to the Application Server."""

    type: Literal["token"] = "token"
    token: TokenText


class AppNotification(Tolerant):
    """``notification``: a notification to acknowledge; a command reads it on its standard input.

    ``channel`` is the channel it came over; fields that this channel does not carry are absent. The
    same ``delivery`` may come again when its acknowledgement was lost.
    """

    type: Literal["notification"] = "notification"
    delivery: DeliveryId
    application: str
    instance: str
    content: Content
    channel: str
    notification: NotificationId | None = None
    urgency: Annotated[Urgency, Field(strict=False)] | None = None
    expires_at: Instant | None = None


class Lost(Tolerant):
    """``lost``: the AOI Server had no room for this many notifications for this device.

    It is not known which apps they were for: the app should ask its backend what it missed.
    """

    type: Literal["lost"] = "lost"
    count: int


class Detached(Tolerant):
    """``detached``: the connection no longer belongs to the app instance; it ends."""

    type: Literal["detached"] = "detached"
    reason: Literal["replaced", "too_slow", "unregistered", "stopping"]


class AppRegistered(Tolerant):
    """``registered``: the app instance is registered; ``token`` is absent if the AOI Server has not
    answered in time.
    """

    type: Literal["registered"] = "registered"
    application: str
    instance: str
    token: TokenText | None = None


class Unregistered(Tolerant):
    """``unregistered``: the app instance is removed; ``confirmed``: the AOI Server has confirmed
    it. If not, it learns of it when the device connects.
    """

    type: Literal["unregistered"] = "unregistered"
    application: str
    instance: str
    confirmed: bool


class AppState(Tolerant):
    """An app instance. ``fingerprint`` names its token; absent while it has none."""

    application: str
    instance: str
    attached: bool
    owner: int
    command: Annotated[tuple[str, ...], Field(strict=False)] = ()
    fingerprint: Fingerprint | None = None


class AppsListed(Tolerant):
    """``apps``: the registered app instances."""

    type: Literal["apps"] = "apps"
    apps: Annotated[tuple[AppState, ...], Field(strict=False)]


class ClientStatus(Tolerant):
    """``status``: the state of the AOI Client. ``trouble``: why there is no session, or what the
    server refused during it.

    ``bearer`` and ``metered`` describe the network, if they are known.
    """

    type: Literal["status"] = "status"
    url: str
    device: str
    connected: bool
    client: ClientId | None = None
    channels: Annotated[tuple[SelectedChannel, ...], Field(strict=False)] = ()
    bearer: str
    metered: bool
    apps: int
    attached: int
    trouble: str | None = None


class IdentitySet(Tolerant):
    """``identity_set``: stored; the AOI Client registers again, and apps get other tokens."""

    type: Literal["identity_set"] = "identity_set"


class AppRequestFailed(Tolerant):
    """``error``: ``code`` is one of the stable codes; nothing more comes on this connection."""

    type: Literal["error"] = "error"
    code: str
    message: str
    field: str | None = None


AppRequest = (
    AttachV1
    | AcknowledgeV1
    | RegisterAppV1
    | UnregisterAppV1
    | ListAppsV1
    | QueryClientV1
    | SetIdentityV1
)
"""The requests of an app."""
ClientFrame = (
    Attached
    | TokenChanged
    | AppNotification
    | Lost
    | Detached
    | AppRegistered
    | Unregistered
    | AppsListed
    | ClientStatus
    | IdentitySet
    | AppRequestFailed
)
"""The answers and messages of the AOI Client to an app."""

APP_REQUESTS: Final[dict[str, type[AppRequest]]] = {
    model.model_fields["type"].default: model for model in get_args(AppRequest)
}
"""Each by its ``type``."""

client_frames: TypeAdapter[ClientFrame] = TypeAdapter(
    Annotated[ClientFrame, Field(discriminator="type")], config=BUILT_WHEN_USED
)
"""Reads a message of the AOI Client."""
