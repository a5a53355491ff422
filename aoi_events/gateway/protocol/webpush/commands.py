"""The AOI requests that the gateway makes for a browser, which does not know AOI."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter, ValidationError

from aoi_events.contracts.identifiers import ClientId, ClientSecret, SenderKey, SenderKeyInput
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    AnyRequest,
    ChannelOffer,
    DeregisterApplicationV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.contracts.webpush import WEBPUSH_APPLICATION, RegisterMessage
from aoi_events.domain.clients.client import hash_secret
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.gateway.protocol.webpush.messages import is_channel_id, read_message
from aoi_events.gateway.protocol.webpush.replies import Command

CHANNEL: Final = "websocket"
"""The notification channel of every browser."""
_KEY: Final[TypeAdapter[SenderKey]] = TypeAdapter(SenderKeyInput)


def registration(session: str, secret: ClientSecret) -> RegisterClientV1:
    """The request for a new AOI Client, with a random identity: the browser names no user."""
    return RegisterClientV1(
        version=1, device="browser", identity=f"webpush:{session}", secret_hash=hash_secret(secret)
    )


def activation(client: ClientId, sequence: int) -> ActivateChannelsV1:
    """The request to activate the only channel of a browser."""
    offers = (ChannelOffer(type=CHANNEL),)
    return ActivateChannelsV1(version=1, client=client, sequence=sequence, offers=offers)


def read_command(data: bytes) -> Command:
    """Decode a command that was decoded and checked before it was queued."""
    message = read_message(data)
    if not isinstance(message, Command):
        raise AssertionError("only commands are queued after the hello")
    return message


def check_command(command: Command) -> None:
    """Check that a request can be made of a command. Raises Refusal (invalid)."""
    if not is_channel_id(command.channel):
        raise Refusal(ErrorCode.INVALID, "a channelID is a UUID in lower case", field="channelID")
    if isinstance(command, RegisterMessage):
        _sender_key(command.key)


def command_request(command: Command, client: ClientId, sequence: int) -> tuple[str, AnyRequest]:
    """The name and the request of a command that was checked."""
    if isinstance(command, RegisterMessage):
        return "application.register", RegisterApplicationV1(
            version=1,
            client=client,
            application=WEBPUSH_APPLICATION,
            instance=command.channel,
            sequence=sequence,
            sender_key=_sender_key(command.key),
        )
    return "application.deregister", DeregisterApplicationV1(
        version=1,
        client=client,
        application=WEBPUSH_APPLICATION,
        instance=command.channel,
        sequence=sequence,
    )


def _sender_key(key: str | None) -> SenderKey | None:
    """The VAPID key in base64url without the padding that Firefox sends."""
    if key is None:
        return None
    try:
        return _KEY.validate_python(key)
    except ValidationError:
        raise Refusal(
            ErrorCode.INVALID, "a key is a P-256 public key, uncompressed, in base64url"
        ) from None
