"""The requests of devices and Application Servers to the AOI Server.

A request is published to the exchange ``aoi.requests`` under its routing key. ``secret`` is absent
only from requests that a gateway passes on for a session that has proved it already.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from aoi_events.contracts.base import Contract, Instant, Request
from aoi_events.contracts.content import Content
from aoi_events.contracts.identifiers import (
    ApplicationName,
    Assertion,
    ChannelType,
    ClientId,
    ClientSecret,
    DeliveryId,
    DeviceId,
    HedgeAfter,
    InstanceName,
    Mode,
    NodeName,
    NotificationId,
    SecretHash,
    SenderKeyInput,
    SessionName,
    SessionText,
    Topic,
    Urgency,
    UserIdentity,
)

CLIENT_HEADER: Final = "aoi-client"
"""A gateway's word that the session of this AOI Client, which proved its ID, made the request."""

MAX_TOKENS: Final = 1_000
MAX_TTL: Final = 28 * 24 * 3600
"""Longest time to live in seconds: four weeks, as Web Push services have it."""

MAX_SESSIONS: Final = 500
"""Sessions in one request of a gateway: some 50 KiB, read by one statement."""

MAX_TEXT: Final = 4096
"""Longest text among the parameters of an offer, in octets: URLs of push services are long."""

Sequence = Annotated[int, Field(ge=1, le=2**53 - 1)]


class PreviousClient(Contract):
    """Proof of an earlier registration: the AOI Client ID and its secret."""

    client: ClientId
    secret: ClientSecret


class RegisterClientV1(Request):
    """``client.register``: ask for an AOI Client ID (8.1.1).

    The client makes a secret of 256 random bits and stores it *before* it sends this; the server
    receives only its hash. With ``previous`` the earlier registration is refreshed (same identity)
    or retired (another identity). ``assertion`` is a signed JWT (RFC 7519) whose ``sub`` is the
    identity, if the server requires proof of identities.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"assertion"})

    device: DeviceId
    identity: UserIdentity
    secret_hash: SecretHash
    previous: PreviousClient | None = None
    assertion: Assertion | None = None


class _ClientRequest(Request):
    """A request of a registered AOI Client."""

    client: ClientId
    secret: ClientSecret | None = None


class DeregisterClientV1(_ClientRequest):
    """``client.deregister``: end the AOI Client ID, its tokens and its channels.

    Notifications that are not delivered yet fail. With ``drained`` the request is refused as
    *conflict* while notifications are stored for the client or tried again; repeat it later.
    """

    drained: Literal[True] | None = None


class RegisterApplicationV1(_ClientRequest):
    """``application.register``: ask for an Application Client Token (8.1.3).

    With ``sender_key`` only a sender that proves it (VAPID, RFC 8292, section 4) may send to the
    token. Another key, or none any more, is another subscription: the old token ends.
    """

    application: ApplicationName
    instance: InstanceName = "default"
    sequence: Sequence
    sender_key: SenderKeyInput | None = None


class DeregisterApplicationV1(_ClientRequest):
    """``application.deregister``: the token of this app instance ends."""

    application: ApplicationName
    instance: InstanceName = "default"
    sequence: Sequence


class ChannelOffer(Contract):
    """A notification channel that the device can use, with the parameters that the server needs.

    ``parameters``: texts of at most 4,096 octets without control characters, numbers and booleans;
    an offer with another text is not selected, and the other offers stand. ``preference``: the
    device prefers the channel with the higher number. ``largest_content`` in octets, if the device
    has a limit of its own.
    """

    type: ChannelType
    parameters: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")], str | int | bool],
        Field(max_length=16),
    ] = Field(default_factory=dict)
    preference: Annotated[int, Field(ge=0, le=100)] = 50
    largest_content: Annotated[int, Field(ge=1, le=65_536)] | None = None


class Circumstances(Contract):
    """The device's situation, for the choice of channels (8.1.2)."""

    bearer: Literal["unknown", "none", "cellular", "wifi", "ethernet"] = "unknown"
    metered: bool = False
    battery: Annotated[int, Field(ge=0, le=100)] | None = None


class ActivateChannelsV1(_ClientRequest):
    """``channel.activate``: offer channels; the server selects, activates and answers (8.1.2)."""

    sequence: Sequence
    offers: Annotated[tuple[ChannelOffer, ...], Field(max_length=16, strict=False)]
    circumstances: Circumstances = Circumstances()

    @model_validator(mode="after")
    def _one_offer_per_type(self) -> ActivateChannelsV1:
        if len({offer.type for offer in self.offers}) != len(self.offers):
            raise ValueError("offer each channel type once")
        return self


class ConfirmChannelV1(_ClientRequest):
    """``channel.confirm``: return the code of a challenge, which proves the channel's address."""

    hidden: ClassVar[frozenset[str]] = frozenset({"code"})

    channel: ChannelType
    code: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{6,32}$")]


class DeactivateChannelsV1(_ClientRequest):
    """``channel.deactivate``: stop using these channels; without ``channels``, all of them."""

    sequence: Sequence
    channels: Annotated[tuple[ChannelType, ...], Field(max_length=16, strict=False)] = ()


def _text(value: object, info: ValidationInfo) -> object:
    """The entry of a token list in JSON; one that is not text becomes empty, which no token is."""
    return "" if info.mode == "json" and not isinstance(value, str) else value


class SendNotificationV1(Request):
    """``notification.send``: deliver one content to up to 1,000 Application Client Tokens.

    Anything may stand in ``tokens``: what is no token is rejected, and the others are sent to.
    ``ttl`` in seconds from acceptance; 0 means now or never (RFC 8030, section 5.2). Repeating the
    same ``notification`` with the same body gives the same answer and no second delivery; where
    every token was rejected, nothing is stored, and a repeat is judged anew. ``topic``
    replaces what this sender sent to the same tokens under the same topic and was not delivered yet
    (RFC 8030, section 5.4). ``mode`` is how the channels of a device follow each other,
    ``hedge_after`` the head start in seconds that each has in mode *hedged*; the operator's
    defaults apply without them.
    """

    notification: NotificationId
    tokens: Annotated[
        tuple[Annotated[str, BeforeValidator(_text)], ...],
        Field(min_length=1, max_length=MAX_TOKENS, strict=False),
    ]
    content: Content
    ttl: Annotated[int, Field(ge=0, le=MAX_TTL)] = 24 * 3600
    urgency: Annotated[Urgency, Field(strict=False)] = Urgency.NORMAL
    topic: Topic | None = None
    mode: Annotated[Mode, Field(strict=False)] | None = None
    hedge_after: HedgeAfter | None = None

    @model_validator(mode="after")
    def _head_start_of_a_hedge(self) -> SendNotificationV1:
        if self.hedge_after is not None and self.mode is not Mode.HEDGED:
            raise ValueError("hedge_after goes with mode hedged; say both, or neither")
        return self


class CancelNotificationV1(Request):
    """``notification.cancel``: withdraw the deliveries that have not ended; a later
    ``notification.send`` of this ID is withdrawn too.
    """

    notification: NotificationId


class QueryNotificationV1(Request):
    """``notification.status``: report the state of each delivery of a notification.

    ``delivery``: report on this one only, with its story.
    """

    notification: NotificationId
    delivery: DeliveryId | None = None


class FetchNotificationV1(_ClientRequest):
    """``notification.fetch``: return the content of a delivery after a wake-up."""

    delivery: DeliveryId


class ConnectClientV1(_ClientRequest):
    """``client.connected`` (gateways only): a device's session opened, or continues on another
    node.

    With ``secret``: a new session. Without: the gateway announces a session that it has had since
    ``epoch`` under its new ``node`` name. ``answer_by`` is until when the gateway waits for the
    answer; after that time the request changes nothing, since its device may be connected elsewhere
    by then. ``heard``: see the device's hello.
    """

    node: NodeName
    session: SessionName
    epoch: Annotated[int, Field(ge=1)] | None = None
    answer_by: Instant | None = None
    heard: SessionText | None = None

    @model_validator(mode="after")
    def _either(self) -> ConnectClientV1:
        if (self.secret is None) == (self.epoch is None):
            raise ValueError("give the secret of a new session, or the epoch of a present one")
        return self


class OpenSession(Contract):
    """A session that a gateway has had since ``epoch``."""

    client: ClientId
    session: SessionName
    epoch: Annotated[int, Field(ge=1)]


class ConfirmSessionsV1(Request):
    """``client.present`` (gateways only): these sessions are open at ``node``.

    The answer names those that the store had elsewhere or not at all, which go on under a new
    epoch, and those that are refused; it says nothing of the others. After ``answer_by`` the
    request changes nothing.
    """

    node: NodeName
    sessions: Annotated[
        tuple[OpenSession, ...], Field(min_length=1, max_length=MAX_SESSIONS, strict=False)
    ]
    answer_by: Instant | None = None


class DisconnectClientV1(Request):
    """``client.disconnected`` (gateways only): the session of that epoch ended."""

    client: ClientId
    epoch: Annotated[int, Field(ge=1)]


AnyRequest = (
    RegisterClientV1
    | DeregisterClientV1
    | RegisterApplicationV1
    | DeregisterApplicationV1
    | ActivateChannelsV1
    | ConfirmChannelV1
    | DeactivateChannelsV1
    | SendNotificationV1
    | CancelNotificationV1
    | QueryNotificationV1
    | FetchNotificationV1
    | ConnectClientV1
    | ConfirmSessionsV1
    | DisconnectClientV1
)

REQUESTS: Final[dict[str, type[AnyRequest]]] = {
    "client.register": RegisterClientV1,
    "client.deregister": DeregisterClientV1,
    "application.register": RegisterApplicationV1,
    "application.deregister": DeregisterApplicationV1,
    "channel.activate": ActivateChannelsV1,
    "channel.confirm": ConfirmChannelV1,
    "channel.deactivate": DeactivateChannelsV1,
    "notification.send": SendNotificationV1,
    "notification.cancel": CancelNotificationV1,
    "notification.status": QueryNotificationV1,
    "notification.fetch": FetchNotificationV1,
    "client.connected": ConnectClientV1,
    "client.present": ConfirmSessionsV1,
    "client.disconnected": DisconnectClientV1,
}
"""Routing key on ``aoi.requests`` → contract."""

GATEWAY_ONLY: Final = frozenset({"client.connected", "client.present", "client.disconnected"})
"""Requests that only a gateway may make."""
