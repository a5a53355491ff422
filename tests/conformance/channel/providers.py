"""What the suite needs to know of each plug-in: offers, and the other side for a test to play."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, assert_never

from aoi_events.bootstrap.plugins import installed_plugins
from aoi_events.channels.sms import SmsSettings
from aoi_events.channels.sms.message_states import MessageState
from aoi_events.channels.webhook import WebhookSettings
from aoi_events.channels.webpush import WebPushSettings
from aoi_events.channels.webpush.vapid import new_key
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.identifiers import base32_id
from aoi_events.contracts.push import PushedChallenge, PushedNotification, PushedWakeUp, push_frames
from aoi_events.domain.clients.channels import Parameters
from aoi_events.oma_push import payload as push_payload
from aoi_events.oma_push.payload import ChallengePush, ContentPush, WakeUpPush
from aoi_events.ports.channel import ChannelPlugin
from aoi_events.testing.conformance import Offers, Provider, ProviderAnswer, told_of
from aoi_events.testing.conformance.provider import Told
from aoi_events.testing.scripted import ADDRESS, Say, ScriptedPlugin, ScriptedProvider
from aoi_events.testing.smsc import LoopbackSmsc, Reply
from tests.support import receivers
from tests.support.pushes import payloads_of
from tests.support.receivers import Receiver, Subscription

CLIENT = base32_id("cli_", bytes(16))
SUBSCRIPTION = Subscription()
FINGERPRINT = base32_id("fp_", bytes(8))


OFFERS: Mapping[str, Offers] = {
    "websocket": Offers(
        good=[{}],
        bad=[({"url": "wss://example.net"}, "parameters.url"), ({"port": 1}, "parameters.port")],
    ),
    "sms": Offers(
        good=[{"msisdn": "+31600000001"}, {"msisdn": "+1 (555) 010-0100"}],
        bad=[
            ({}, "parameters.msisdn"),
            ({"msisdn": ""}, "parameters.msisdn"),
            ({"msisdn": "0600000001"}, "parameters.msisdn"),
            ({"msisdn": 31600000001}, "parameters.msisdn"),
            ({"msisdn": True}, "parameters.msisdn"),
            ({"msisdn": "+31600000001\0"}, "parameters.msisdn"),
            ({"msisdn": "+31600000001", "port": 2948}, "parameters.port"),
        ],
    ),
    "webhook": Offers(
        good=[
            {"url": "https://push.example.org"},
            {"url": "HTTPS://Push.Example.org:443/hooks/7?a=b%20c"},
            {"url": "https://1.1.1.1/"},
            {"url": "https://[2606:4700::1111]/hook"},
        ],
        bad=[
            ({}, "parameters.url"),
            ({"url": ""}, "parameters.url"),
            ({"url": True}, "parameters.url"),
            ({"url": 443}, "parameters.url"),
            ({"url": "http://push.example.org/"}, "parameters.url"),
            ({"url": "https://127.0.0.1/"}, "parameters.url"),
            ({"url": "https://push.example.org/", "secret": "mine"}, "parameters.secret"),
        ],
    ),
    "webpush": Offers(
        good=[
            SUBSCRIPTION.parameters("https://push.example.org/wpush/v1/abc"),
            SUBSCRIPTION.parameters("https://1.1.1.1"),
        ],
        bad=[
            ({}, "parameters.endpoint"),
            (SUBSCRIPTION.parameters("https://[::1]/"), "parameters.endpoint"),
            (SUBSCRIPTION.parameters("ftp://push.example.org/"), "parameters.endpoint"),
            ({"endpoint": "https://push.example.org/"}, "parameters.p256dh"),
            (
                {**SUBSCRIPTION.parameters("https://push.example.org/"), "auth": "c2hvcnQ"},
                "parameters.auth",
            ),
            (
                {**SUBSCRIPTION.parameters("https://push.example.org/"), "p256dh": "BAAAAAAA"},
                "parameters.p256dh",
            ),
            ({**SUBSCRIPTION.parameters("https://push.example.org/"), "ttl": 1}, "parameters.ttl"),
        ],
    ),
    "scripted": Offers(
        good=[{ADDRESS: "a1"}],
        bad=[
            ({}, "parameters.address"),
            ({ADDRESS: ""}, "parameters.address"),
            ({ADDRESS: 1}, "parameters.address"),
            ({ADDRESS: False}, "parameters.address"),
            ({ADDRESS: "a1", "colour": "red"}, "parameters.colour"),
        ],
    ),
}
"""By type, of every plug-in that is installed, and of the scripted one, which is handed over."""

WITH_RECEIPTS = ("sms", "scripted")
"""One provider serves every device, names messages, sends receipts, and may be down."""
OF_THEIR_HOSTS = ("webhook", "webpush")
"""Devices name hosts of their own, which answer each request and send no receipts."""
CONNECTIONLESS = (*WITH_RECEIPTS, *OF_THEIR_HOSTS)
LIMITED = ("sms", "scripted", "webpush")
"""Carry less than content may measure."""


def plugin_of(kind: str) -> ChannelPlugin:
    """The plug-in as an installation finds it."""
    if kind == "scripted":
        return ScriptedPlugin(ScriptedProvider(), largest_content=200, needs_proof=True)
    return installed_plugins()[kind]


@dataclass
class _Smsc(Provider):
    for_everybody = True
    names_messages = True

    smsc: LoopbackSmsc = field(kw_only=True)

    def script(self, *answers: ProviderAnswer) -> None:
        self.smsc.script(*(_reply(answer) for answer in answers))

    def arrived(self) -> list[Told]:
        handed = ((each.number, each.user_data) for each in self.smsc.submissions)
        return [_told(payload) for payload in payloads_of(handed)]

    async def go_down(self) -> None:
        await self.smsc.go_down()

    async def come_back(self) -> None:
        await self.smsc.come_back()


@dataclass
class _Scripted(Provider):
    for_everybody = True
    names_messages = True

    provider: ScriptedProvider = field(kw_only=True)

    def script(self, *answers: ProviderAnswer) -> None:
        self.provider.script(*(_say(answer) for answer in answers))

    def arrived(self) -> list[Told]:
        return [told_of(item) for item in self.provider.taken]

    async def go_down(self) -> None:
        self.provider.up.clear()

    async def come_back(self) -> None:
        self.provider.up.set()


@dataclass
class _Host(Provider):
    receiver: Receiver = field(kw_only=True)

    def script(self, *answers: ProviderAnswer) -> None:
        self.receiver.script(*(_status(answer) for answer in answers))

    def arrived(self) -> list[Told]:
        if self.plugin.type == "webpush":
            return [_pushed(SUBSCRIPTION.read(got.body)) for got in self.receiver.got]
        return [_pushed(got.body) for got in self.receiver.got]

    async def go_down(self) -> None:
        await self.receiver.go_down()

    async def come_back(self) -> None:
        await self.receiver.come_back()


class _Webhook(_Host):
    """A receiver; none of its answers is a last one for a message whose address is good."""

    says = frozenset(ProviderAnswer) - {ProviderAnswer.REJECTED}


@asynccontextmanager
async def open_provider(kind: str) -> AsyncIterator[Provider]:
    """The provider of that channel; its channels are closed at the end."""
    if kind == "sms":
        async with LoopbackSmsc(Reply(receipts=())) as smsc:
            settings = SmsSettings(
                host=smsc.host,
                port=smsc.port,
                window=1,
                throttle_pause=0.05,
                turn_time=0.5,
                response_time=0.5,
                reconnect_first=0.02,
                reconnect_most=0.05,
            )
            numbers: list[Parameters] = [{"msisdn": f"+3160000000{n}"} for n in range(3)]
            async with _closing(_Smsc(plugin_of(kind), settings, numbers, smsc=smsc)) as provider:
                yield provider
    elif kind in OF_THEIR_HOSTS:
        async with Receiver() as receiver, _closing(_host(kind, receiver)) as provider:
            yield provider
    else:
        scripted = ScriptedProvider()
        plugin = ScriptedPlugin(scripted, largest_content=200, needs_proof=True)
        addresses: list[Parameters] = [{ADDRESS: f"a{n}"} for n in range(3)]
        async with _closing(_Scripted(plugin, {}, addresses, provider=scripted)) as provider:
            yield provider


def _host(kind: str, receiver: Receiver) -> Provider:
    outgoing: dict[str, Any] = {
        "enabled": True,
        "allow_http": True,
        "networks": ["127.0.0.0/8"],
        "ports": [],
        "within": 2.0,
        # One after the other, so that a script knows what comes next.
        "connections_per_host": 1,
        "probe_first": 0.01,
        "probe_most": 0.01,
    }
    paths = [f"/device/{number}" for number in range(3)]
    if kind == "webhook":
        settings: Any = WebhookSettings.model_validate({**outgoing, "signing_key": "A" * 44})
        urls: list[Parameters] = [{"url": receiver.url(path)} for path in paths]
        return _Webhook(plugin_of(kind), settings, urls, receiver=receiver)
    private, _ = new_key()
    settings = WebPushSettings.model_validate({**outgoing, "private_key": private})
    addresses = [SUBSCRIPTION.parameters(receiver.url(path)) for path in paths]
    return _Host(plugin_of(kind), settings, addresses, receiver=receiver)


@asynccontextmanager
async def _closing(provider: Provider) -> AsyncIterator[Provider]:
    try:
        yield provider
    finally:
        await provider.close()


def _reply(answer: ProviderAnswer) -> Reply:
    match answer:
        case ProviderAnswer.TAKEN:
            return Reply(receipts=())
        case ProviderAnswer.RECEIPTED:
            return Reply()
        case ProviderAnswer.UNDELIVERED:
            return Reply(receipts=(MessageState.UNDELIVERABLE,), lost=True)
        case ProviderAnswer.REFUSED:
            return Reply(status=0x45)
        case ProviderAnswer.SLOW_DOWN:
            return Reply.throttle()
        case ProviderAnswer.REJECTED:
            return Reply(status=0x66)
        case ProviderAnswer.NO_SUCH_ADDRESS:
            return Reply.bad_number()
        case _:
            assert_never(answer)


def _say(answer: ProviderAnswer) -> Say:
    match answer:
        case ProviderAnswer.TAKEN:
            return Say.accepted()
        case ProviderAnswer.RECEIPTED:
            return Say.accepted(receipt=OutcomeKind.RECEIPTED)
        case ProviderAnswer.UNDELIVERED:
            return Say.accepted(receipt=OutcomeKind.REJECTED)
        case ProviderAnswer.REFUSED:
            return Say.refused()
        case ProviderAnswer.SLOW_DOWN:
            return Say.refused(retry_after=1.0, throttled=True)
        case ProviderAnswer.REJECTED:
            return Say.rejected()
        case ProviderAnswer.NO_SUCH_ADDRESS:
            return Say.rejected(closes_channel=True)
        case _:
            assert_never(answer)


def _status(answer: ProviderAnswer) -> receivers.Reply:
    match answer:
        case ProviderAnswer.TAKEN | ProviderAnswer.RECEIPTED | ProviderAnswer.UNDELIVERED:
            return receivers.Reply()
        case ProviderAnswer.REFUSED:
            return receivers.Reply(500)
        case ProviderAnswer.SLOW_DOWN:
            return receivers.Reply(429, {"Retry-After": "7"})
        case ProviderAnswer.REJECTED:
            return receivers.Reply(413, body=b"no")
        case ProviderAnswer.NO_SUCH_ADDRESS:
            return receivers.Reply(410)
        case _:
            assert_never(answer)


def _pushed(body: bytes) -> Told:
    frame = push_frames.validate_json(body)
    match frame:
        case PushedNotification():
            return ("content", frame.delivery, frame.content.data)
        case PushedWakeUp():
            return ("wake-up", frame.delivery)
        case PushedChallenge():
            return ("challenge", frame.code)
        case _:
            assert_never(frame)


def _told(payload: push_payload.Payload) -> Told:
    match payload:
        case ContentPush(delivery, _, content):
            return ("content", delivery, content.data)
        case WakeUpPush(delivery, _):
            return ("wake-up", delivery)
        case ChallengePush(code):
            return ("challenge", code)
        case _:
            assert_never(payload)
