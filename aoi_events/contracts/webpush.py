"""The device protocol ``push-notification`` between Firefox and its push service: JSON text frames
over a WebSocket with that subprotocol, or with none.

Its only documentation is its two implementations, Firefox's ``PushServiceWebSocket`` and Mozilla's
``autopush-rs``; these are the messages that both know. A browser sends ``hello``, receives its
``uaid``, asks for an endpoint with ``register`` per subscription (``channelID``), and answers each
``notification`` with an ``ack``. An empty object is a ping, and its answer.

The browser stores nothing but the ``uaid``, so it contains the AOI Client ID and its secret.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from aoi_events.contracts.base import BUILT_WHEN_USED, Tolerant
from aoi_events.contracts.content import MAX_CONTENT

WEBPUSH_SUBPROTOCOL: Final = "push-notification"
WEBPUSH_APPLICATION: Final = "webpush"
"""The application that every subscription is registered for; its instance is the channelID."""
MAX_UPDATES: Final = 1_000
"""Acknowledgements in one message; Firefox sends one."""

_Text = Annotated[str, Field(max_length=256)]
_Kind: Final = Field(alias="messageType")
ChannelID = Annotated[str, Field(alias="channelID", max_length=64)]


class WebPushCloseCode(IntEnum):
    """WebSocket close codes for browsers. Firefox connects again after every one but
    ``STAY_AWAY``.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    UNSUPPORTED = 1003
    POLICY = 1008
    TOO_BIG = 1009
    SERVICE_RESTART = 1012
    TRY_LATER = 1013
    STAY_AWAY = 4774
    """Do not connect again until the network changes or a page subscribes."""


class _Message(Tolerant):
    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


# --- from the browser ---------------------------------------------------------------------------


class HelloMessage(_Message):
    """``hello``, the first message. A ``uaid`` that this server did not issue counts as none."""

    kind: Annotated[Literal["hello"], _Kind] = "hello"
    uaid: Annotated[str, Field(max_length=1_024)] | None = None
    broadcasts: dict[_Text, Any] | None = None


class RegisterMessage(_Message):
    """``register``: a page subscribes. ``key``: the VAPID public key, base64url, with or without
    padding.
    """

    kind: Annotated[Literal["register"], _Kind] = "register"
    channel: ChannelID
    key: _Text | None = None


class UnregisterMessage(_Message):
    """``unregister``: a subscription ends, by the page (200), for quota (201) or
    permission (202).
    """

    kind: Annotated[Literal["unregister"], _Kind] = "unregister"
    channel: ChannelID
    code: int | None = None


class AckUpdate(_Message):
    """The outcome of one notification.

    ``code``: 100 the service worker received it (the default), 101 it could not be decrypted, 102
    it was not delivered: a duplicate, or no subscription may receive it now.
    """

    channel: ChannelID
    version: _Text
    code: int | None = None


class AckMessage(_Message):
    """``ack``: acknowledges notifications."""

    kind: Annotated[Literal["ack"], _Kind] = "ack"
    updates: Annotated[tuple[AckUpdate, ...], Field(max_length=MAX_UPDATES, strict=False)]


class NackMessage(_Message):
    """``nack``: the service worker failed at a notification that was acknowledged before: it threw
    (301), its promise was rejected (302), or the browser failed (303).
    """

    kind: Annotated[Literal["nack"], _Kind] = "nack"
    version: _Text
    code: int | None = None


class BroadcastSubscribeMessage(_Message):
    """``broadcast_subscribe``: the browser asks for broadcasts, such as new settings; this server
    has none.
    """

    kind: Annotated[Literal["broadcast_subscribe"], _Kind] = "broadcast_subscribe"
    broadcasts: dict[_Text, Any]


class PingMessage(_Message):
    """A ping, usually written ``{}``; answered with the same."""

    kind: Annotated[Literal["ping"], _Kind] = "ping"


BrowserMessage = (
    HelloMessage
    | RegisterMessage
    | UnregisterMessage
    | AckMessage
    | NackMessage
    | BroadcastSubscribeMessage
    | PingMessage
)


# --- to the browser -----------------------------------------------------------------------------


class HelloReply(_Message):
    """The connection is open. If ``uaid`` is another one than before, every subscription
    has ended.
    """

    kind: Annotated[Literal["hello"], _Kind] = "hello"
    uaid: Annotated[str, Field(max_length=128)]
    status: int = 200
    use_webpush: Literal[True] = True
    broadcasts: dict[str, str] = Field(default_factory=dict)


class RegisterReply(_Message):
    """The answer to ``register``: ``endpoint`` is the URL for senders when ``status`` is 200.

    Other values: 400 a wrong channelID or key, 403 this server requires proof of the user's
    identity, which no browser has, 409 an older request, 410 the client ended, 429 too many, 500 a
    fault, 503 try again later.
    """

    kind: Annotated[Literal["register"], _Kind] = "register"
    channel: ChannelID
    status: int
    endpoint: Annotated[str, Field(alias="pushEndpoint")] = ""


class UnregisterReply(_Message):
    """The subscription ended (200); other values as in :class:`RegisterReply`."""

    kind: Annotated[Literal["unregister"], _Kind] = "unregister"
    channel: ChannelID
    status: int


class MessageHeaders(_Message):
    """How ``data`` is encrypted; the last two only with ``aesgcm``."""

    encoding: Literal["aes128gcm", "aesgcm"]
    encryption: str | None = None
    crypto_key: str | None = None


class NotificationMessage(_Message):
    """A notification; ``version`` names it, ``data`` is base64url without padding.

    Without ``data`` and ``headers`` it is a push without content.
    """

    kind: Annotated[Literal["notification"], _Kind] = "notification"
    channel: ChannelID
    version: str
    data: Annotated[str, Field(max_length=4 * MAX_CONTENT // 3 + 4)] | None = None
    headers: MessageHeaders | None = None


ServiceMessage = HelloReply | RegisterReply | UnregisterReply | NotificationMessage

browser_messages: TypeAdapter[BrowserMessage] = TypeAdapter(
    Annotated[BrowserMessage, Field(discriminator="kind")], config=BUILT_WHEN_USED
)
"""Reads what a browser sent, but for the ping ``{}``."""
service_messages: TypeAdapter[ServiceMessage] = TypeAdapter(
    Annotated[ServiceMessage, Field(discriminator="kind")], config=BUILT_WHEN_USED
)
"""Reads what a push service sent, but for the ping ``{}``."""
