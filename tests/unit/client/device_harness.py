"""A simulated device: feeds inputs to the decisions, stores their state, checks invariants."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from aoi_events.client.core.decisions import decide
from aoi_events.client.core.effects import Connect, Deliver, Effect, Emit, Save, SendFrame
from aoi_events.client.core.events import ClientEvent
from aoi_events.client.core.inputs import (
    ApplicationStarted,
    ClientStarted,
    ConnectionClosed,
    ConnectionOpened,
    FrameReceived,
    Input,
    ShortMessage,
    ShortMessageArrived,
)
from aoi_events.client.core.model import Model, Network, PendingRequest
from aoi_events.client.core.state import StoredState, decode, encode
from aoi_events.contracts.answers import (
    ANSWER_TYPES,
    AnyAnswer,
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientRegisteredV1,
    NotificationContentV1,
    UnselectedChannel,
)
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import (
    AckFrame,
    AnswerFrame,
    DeviceFrame,
    HelloFrame,
    NotificationFrame,
    RequestFrame,
    WelcomeFrame,
    server_frames,
)
from aoi_events.contracts.requests import ChannelOffer, Circumstances
from aoi_events.domain.clients.client import client_id_of, hash_secret
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.oma_push.payload import ContentPush, Payload, WakeUpPush
from aoi_events.oma_push.payload import encode as encode_push
from tests.support.device_frames import delivery_id
from tests.support.instant import INSTANT as NOW

E = TypeVar("E")
F = TypeVar("F", bound=DeviceFrame)

MAIL = "org.example.mail"
EXPIRES_AT = (NOW + timedelta(days=1)).isoformat()
WIFI = Network(Circumstances(bearer="wifi"), "192.0.2.1")
CELLULAR = Network(Circumstances(bearer="cellular", metered=True), "198.51.100.7")
OFFERS = (
    ChannelOffer(type="websocket"),
    ChannelOffer(type="sms", parameters={"address": "+15550100"}),
)


def _secret(number: int) -> str:
    octets = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return urlsafe_b64encode(octets).decode().rstrip("=")


def arrived(user_data: bytes, *, sender: str = "AOI", at: datetime = NOW) -> ShortMessageArrived:
    """A short message comes."""
    return ShortMessageArrived(ShortMessage(user_data, sender), at)


def by_sms(payload: Payload) -> ShortMessageArrived:
    """A push comes in one short message."""
    [user_data] = encode_push(payload, transaction_id=1)
    return arrived(user_data)


def token_of(client: str, application: str, instance: str) -> str:
    """The token that the simulated server gives to an app instance."""
    return "k." + hashlib.sha256(f"{client}/{application}/{instance}".encode()).hexdigest()


def content_of(delivery: str, token: str) -> NotificationContentV1:
    """The content of a delivery, as the server answers a fetch."""
    return NotificationContentV1.model_validate(
        {
            "delivery": delivery,
            "notification": "n-1",
            "token": token,
            "content": {"data": "large"},
            "urgency": "normal",
            "expires_at": EXPIRES_AT,
        }
    )


def notification(number: int, token: str, *, attempt: int = 1) -> NotificationFrame:
    """A notification as the server sends it."""
    frame = {
        "type": "notification",
        "delivery": delivery_id(number),
        "attempt": attempt,
        "notification": f"n-{number}",
        "token": token,
        "application": MAIL,
        "instance": "default",
        "content": {"data": "hello"},
        "urgency": "normal",
        "expires_at": EXPIRES_AT,
    }
    read = server_frames.validate_python(frame)
    assert isinstance(read, NotificationFrame)
    return read


class DeviceHarness:
    """One device: its model, its disk, and every effect so far.

    Each input is checked: what is sent is on the disk before; a sequence number is never used twice
    and never falls; a secret is never used again; the final acknowledgement of a delivery never
    changes, and no app gets that delivery again.
    """

    def __init__(self, **settings: Any) -> None:
        model = Model(device="phone-1", identity="tel:+15550100", offers=OFFERS, network=WIFI)
        self.model = replace(model, **settings)
        self.disk = encode(StoredState())
        self.effects: list[Effect] = []
        self._secrets: Iterator[str] = (_secret(n) for n in count(1))
        self._sequences: dict[tuple[str, str], int] = {}
        self._final: dict[str, str] = {}

    @property
    def stored(self) -> StoredState:
        """What is on the disk."""
        return decode(self.disk)

    @property
    def generation(self) -> int:
        """The present connection's."""
        return self.model.connection.generation

    def feed(self, cause: Input) -> list[Effect]:
        """Feed one input; its effects."""
        before = self.stored
        transition = decide(self.model, cause, fresh_secret=next(self._secrets))
        effects = transition.effects
        for effect in effects:
            if isinstance(effect, Save):
                assert effect is effects[0], "stored after something else"
                self.disk = encode(effect.stored)
            elif isinstance(effect, SendFrame):
                assert effect.generation == transition.model.connection.generation
                self._check_sent(effect.frame)
            elif isinstance(effect, Deliver):
                known = self._final.get(effect.notification.delivery)
                assert known is None, f"an app saw what was {known}"
        self.model = transition.model
        assert self.stored == self.model.stored, "the disk and the model differ"
        self._check_monotonous(before, self.stored)
        # That nobody was there is true until an app registers.
        self._final = {
            delivery: code
            for delivery, code in self._final.items()
            if code == "delivered" or delivery in self.stored.seen
        }
        self.effects += effects
        return list(effects)

    def restart(self) -> None:
        """The process is killed and started again: only the disk is left."""
        model = self.model
        self.model = Model(
            device=model.device,
            identity=model.identity,
            offers=model.offers,
            register_on=model.register_on,
            network=model.network,
            stored=self.stored,
        )
        self.feed(ClientStarted())

    def receive(self, frame: Any) -> list[Effect]:
        """The server sends a frame over the present connection."""
        return self.feed(FrameReceived(self.generation, frame))

    def pending(self, name: str) -> tuple[int, PendingRequest]:
        """The latest request of that name that waits for an answer."""
        waiting = [(i, p) for i, p in self.model.connection.in_flight.items() if p.name == name]
        assert waiting, f"no {name} under way: {self.model.connection.in_flight}"
        return waiting[-1]

    def answer(self, name: str, answer: AnyAnswer) -> list[Effect]:
        """The server answers the latest request of that name."""
        number, _ = self.pending(name)
        body = answer.model_dump(mode="json", exclude_none=True)
        return self.receive(AnswerFrame(id=number, name=ANSWER_TYPES[type(answer)], body=body))

    def welcome(self, *closed: UnselectedChannel) -> list[Effect]:
        """The server says welcome, and which channels it closed."""
        client = self.model.stored.client
        assert client is not None
        return self.receive(
            WelcomeFrame(
                client=client, session="s1", epoch=1, sequence=0, ping_every=30.0, closed=closed
            )
        )

    def open(self) -> list[Effect]:
        """The socket opens."""
        return self.feed(ConnectionOpened(self.generation))

    def register(self) -> None:
        """Register and greet, from a new connection to the welcome."""
        self.open()
        self.answer("client.register", ClientRegisteredV1(client=self.server_id()))
        self.welcome()

    def connect(self, *closed: UnselectedChannel) -> None:
        """Greet with a known AOI Client ID; the server says which channels it closed."""
        self.open()
        self.welcome(*closed)

    def server_id(self) -> str:
        """The AOI Client ID that the simulated server gives to the present secret."""
        assert self.model.stored.credentials is not None
        return client_id_of(hash_secret(self.model.stored.credentials.secret))

    def serve(self, *, pending_sms: bool = False) -> None:
        """Answer everything that is asked, until nothing is: a server that does its part."""
        for _ in range(200):
            waiting = list(self.model.connection.in_flight.values())
            if not waiting:
                return
            self._serve_one(waiting[-1], pending_sms)
        raise AssertionError("the device never stops asking")

    def sent(self, kind: type[F]) -> list[F]:
        """Frames of that kind that went out."""
        frames = [e.frame for e in self.effects if isinstance(e, SendFrame)]
        return [frame for frame in frames if isinstance(frame, kind)]

    def requests(self, name: str) -> list[RequestFrame]:
        """Requests of that name that went out."""
        return [frame for frame in self.sent(RequestFrame) if frame.name == name]

    def emitted(self, kind: type[E]) -> list[E]:
        """Emitted events of that kind."""
        events: list[ClientEvent] = [e.event for e in self.effects if isinstance(e, Emit)]
        return [event for event in events if isinstance(event, kind)]

    def connects(self) -> list[Connect]:
        """Connections that were asked for."""
        return [effect for effect in self.effects if isinstance(effect, Connect)]

    def delivered(self) -> list[Deliver]:
        """Notifications that were delivered to apps."""
        return [effect for effect in self.effects if isinstance(effect, Deliver)]

    def acks(self) -> list[tuple[str, str, str | None]]:
        """Acknowledgements that went out: delivery, code, channel."""
        return [(ack.delivery, ack.code, ack.channel) for ack in self.sent(AckFrame)]

    def _serve_one(self, pending: PendingRequest, pending_sms: bool) -> None:
        if pending.name == "client.register":
            self.answer(pending.name, ClientRegisteredV1(client=self.server_id()))
            self.welcome()
        elif pending.name == "application.register":
            application, instance = pending.about.split("/")
            token = token_of(self.model.stored.client or "", application, instance)
            sequence = pending.sequence or 0
            self.answer(pending.name, ApplicationRegisteredV1(token=token, sequence=sequence))
        elif pending.name == "application.deregister":
            answer = ApplicationDeregisteredV1(sequence=pending.sequence or 0)
            self.answer(pending.name, answer)
        else:
            unproved = pending_sms and pending.name == "channel.activate"
            selected = tuple(
                SelectedChannel(
                    type=offer.type,
                    state="pending" if unproved and offer.type == "sms" else "active",
                )
                for offer in self.model.offers
            )
            sequence = pending.sequence or self.model.stored.sequence
            self.answer(pending.name, ChannelsActivatedV1(sequence=sequence, selected=selected))

    def _check_sent(self, frame: DeviceFrame) -> None:
        stored = self.stored
        match frame:
            case RequestFrame(name="client.register", body=body):
                assert stored.credentials is not None
                assert body["secret_hash"] == hash_secret(stored.credentials.secret)
                assert stored.credentials.secret not in str(body)
            case RequestFrame(name=name, body=body) if "sequence" in body:
                about = f"{body.get('application')}/{body.get('instance')}"
                key = (name.split(".")[0], about)
                assert body["sequence"] > self._sequences.get(key, 0), "a number was used twice"
                self._sequences[key] = body["sequence"]
                kept = (
                    stored.sequence
                    if name == "channel.activate"
                    else stored.applications[about].sequence
                )
                assert kept == body["sequence"], "the number was not on the disk"
            case HelloFrame(secret=secret):
                assert stored.credentials is not None
                assert stored.credentials.secret == secret
            case AckFrame(delivery=delivery, code=code):
                known = self._final.get(delivery, code)
                assert known == code, f"{delivery} was {known}, and is {code} now"
                if code != "could_not_wake":
                    assert stored.seen[delivery] == code, "the acknowledgement was not on the disk"
                    self._final[delivery] = code
            case _:
                pass

    @staticmethod
    def _check_monotonous(before: StoredState, after: StoredState) -> None:
        assert after.sequence >= before.sequence
        for key, record in before.applications.items():
            assert after.applications[key].sequence >= record.sequence


class RegisteredDevice(DeviceHarness):
    """A registered device with active channels and one app, and the app's token."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.feed(ClientStarted())
        self.feed(ApplicationStarted(MAIL, "default"))
        self.register()
        self.serve()
        self.token = self.stored.applications[f"{MAIL}/default"].token or ""

    def sms(self, number: int, text: str = "hello") -> ShortMessageArrived:
        """A notification comes by SMS."""
        content = Content(data=text)
        return by_sms(ContentPush(delivery_id(number), fingerprint_of(self.token), content))

    def wake_up(self, number: int) -> ShortMessageArrived:
        """A wake-up comes by SMS."""
        return by_sms(WakeUpPush(delivery_id(number), fingerprint_of(self.token)))

    def content(self, number: int) -> NotificationContentV1:
        """The content of a wake-up, for this app."""
        return content_of(delivery_id(number), self.token)

    def lose_connection(self) -> None:
        """The connection ends."""
        self.feed(ConnectionClosed(self.generation, None, "lost"))
