"""The plug-in of the Web Push channel."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from aiohttp.abc import AbstractResolver

from aoi_events.channels.base.http.channel import HttpChannel, Post
from aoi_events.channels.base.http.offers import checked_offer
from aoi_events.channels.base.http.pushes import pushed
from aoi_events.channels.base.http.urls import BadUrl, checked_url
from aoi_events.channels.base.requests import CannotSend, Item
from aoi_events.channels.webpush.settings import WebPushSettings
from aoi_events.channels.webpush.subscription import (
    AUTH,
    ENDPOINT,
    P256DH,
    encrypted,
    keys_of,
)
from aoi_events.channels.webpush.vapid import authorization
from aoi_events.contracts.content import Content
from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import Urgency, base32_id
from aoi_events.contracts.push import PushedNotification
from aoi_events.domain.clients.channels import ChannelTraits, Parameters
from aoi_events.errors import ConfigurationError, ErrorCode, Refusal
from aoi_events.ports.channel import (
    ChannelPlugin,
    Confirming,
    Offered,
    OfferParameters,
    SettingsModel,
)
from aoi_events.ports.clock import Clock

__all__ = ["LARGEST_PLAINTEXT", "VAPID_KEY", "WebPushPlugin", "plugin"]

VAPID_KEY: Final = "vapid_key"
"""The parameter in the answer to an activation: our public key."""

LARGEST_PLAINTEXT: Final = 3_993
"""Octets that fit the 4,096 which every push service takes (RFC 8291, section 4)."""

_LONGEST_TTL: Final = 2**31 - 1
_SUBSCRIPTION: Final = (ENDPOINT, P256DH, AUTH)


class WebPushPlugin:
    """See :class:`aoi_events.ports.channel.ChannelPlugin`.

    A device offers a subscription that it made at another push service with our public key as its
    ``applicationServerKey``: ``endpoint``, ``p256dh`` and ``auth``. ``clock`` and ``resolver`` are
    for tests.
    """

    def __init__(
        self, *, clock: Clock | None = None, resolver: AbstractResolver | None = None
    ) -> None:
        self._clock = clock
        self._resolver = resolver

    @property
    def type(self) -> str:
        """``webpush``."""
        return "webpush"

    @property
    def settings_model(self) -> SettingsModel:
        """Section ``channels.webpush`` of the settings."""
        return WebPushSettings

    def traits(self, settings: Any) -> ChannelTraits:
        """Connectionless, a push of the other service large, its endpoint to be proved."""
        checked = WebPushSettings.model_validate(settings)
        return ChannelTraits(
            type=self.type,
            connection_oriented=False,
            ack_within=checked.ack_within,
            largest_content=_LARGEST_CONTENT,
            needs_proof=True,
            cost=checked.cost,
            measure=_measure,
        )

    def offer(self, parameters: OfferParameters, settings: Any) -> Offered:
        """A subscription in its one spelling. Raises Refusal (invalid) for anything else."""
        checked = WebPushSettings.model_validate(settings)
        endpoint = checked_offer(self.type, parameters, _SUBSCRIPTION, ENDPOINT, checked)
        keys = keys_of(parameters)
        if isinstance(keys, str):
            raise Refusal(
                ErrorCode.INVALID,
                f"offer the key {keys} of the subscription as base64url",
                field=f"parameters.{keys}",
            )
        return Offered(parameters={ENDPOINT: endpoint, **keys.parameters()}, address=endpoint)

    def confirming(self, settings: Any) -> Confirming:
        """Tells our public key, so that a device sees when it must subscribe anew."""
        public = WebPushSettings.model_validate(settings).application_server_key
        if public is None:
            raise ConfigurationError(
                "Web Push is enabled without a key: set AOI_CHANNELS__WEBPUSH__PUBLIC_KEY for the "
                "worker activation (`aoi keys vapid` makes a pair)"
            )

        def told(client: str, parameters: Parameters) -> Parameters:
            return {VAPID_KEY: public}

        return told

    def configured(self, settings: Any) -> bool:
        """Whether devices may select it here."""
        return WebPushSettings.model_validate(settings).enabled

    async def connect(self, settings: Any) -> HttpChannel:
        """The sender. Raises ConfigurationError when the private key is not set."""
        checked = WebPushSettings.model_validate(settings)
        key = checked.signing
        if key is None:
            raise ConfigurationError(
                "Web Push is enabled without a key: set AOI_CHANNELS__WEBPUSH__PRIVATE_KEY for the "
                "worker webpush (`aoi keys vapid` makes a pair)"
            )

        def compose(item: Item, now: datetime) -> Post:
            try:
                endpoint = checked_url(str(item.parameters.get(ENDPOINT, "")), checked)
            except BadUrl as error:
                raise CannotSend(str(error), closes_channel=True) from None
            keys = keys_of(item.parameters)
            if isinstance(keys, str):
                raise CannotSend(f"the key {keys} is none", closes_channel=True)
            headers = {
                "Authorization": authorization(key, endpoint, checked.contact, now),
                "Content-Encoding": "aes128gcm",
                "Content-Type": "application/octet-stream",
                **_how(item, now),
            }
            return Post(endpoint, encrypted(_plaintext(item), keys), headers)

        return HttpChannel(
            self.type,
            checked,
            compose,
            address=ENDPOINT,
            clock=self._clock,
            resolver=self._resolver,
        )


def _how(item: Item, now: datetime) -> dict[str, str]:
    """TTL, urgency and topic (RFC 8030, sections 5.2 to 5.4)."""
    left = int((item.expires_at - now).total_seconds())
    headers = {"TTL": str(min(max(left, 0), _LONGEST_TTL))}
    if isinstance(item, DeliverItem):
        headers["Urgency"] = item.urgency.value
        if item.topic is not None:
            headers["Topic"] = item.topic
    else:
        headers["Urgency"] = Urgency.HIGH.value  # somebody waits for it
    return headers


def _plaintext(item: Item) -> bytes:
    """The push. Raises CannotSend for content that measures too much."""
    if isinstance(item, DeliverItem) and not item.wake_up:
        octets = _measure(item.content)
        if octets > _LARGEST_CONTENT:
            raise CannotSend(f"{octets} octets of content do not fit {_LARGEST_CONTENT}")
    return pushed(item, with_names=False).encode()


def _measure(content: Content) -> int:
    """Octets that content takes inside a push: as JSON, with all that is said of it."""
    return len(content.encode())


def _room() -> int:
    """What is left for content beside the largest values that there are of everything else."""
    empty = Content(data="")
    push = PushedNotification(
        delivery=base32_id("dlv_", bytes(16)),
        attempt=2**31,
        fingerprint=base32_id("fp_", bytes(8)),
        urgency=Urgency.VERY_LOW,
        expires_at=datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
        content=empty,
    )
    return LARGEST_PLAINTEXT - len(push.encode()) + _measure(empty)


_LARGEST_CONTENT: Final = _room()

plugin: Final[ChannelPlugin] = WebPushPlugin()
