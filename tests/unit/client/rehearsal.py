"""Plays events to the decisions, keeps what they store, and holds every run to the promises."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from aoi_events.client.core.decisions import decide
from aoi_events.client.core.effects import Deliver, Effect, Open, Send, Store, Tell
from aoi_events.client.core.events import ClientEvent
from aoi_events.client.core.inputs import (
    Input,
    Opened,
    Received,
    ShortMessage,
    ShortMessageArrived,
    Started,
)
from aoi_events.client.core.model import Network, Pending, View
from aoi_events.client.core.state import Stored, decode, encode
from aoi_events.contracts.answers import (
    ANSWER_TYPES,
    AnyAnswer,
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientRegisteredV1,
    SelectedChannel,
)
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
from aoi_events.contracts.identifiers import base32_id
from aoi_events.contracts.requests import ChannelOffer, Circumstances
from aoi_events.domain.clients.client import client_id_of, hash_secret
from aoi_events.oma_push.payload import Payload
from aoi_events.oma_push.payload import encode as encode_push
from tests.instant import INSTANT as NOW

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


def delivery_id(number: int) -> str:
    """A delivery's ID."""
    return base32_id("dlv_", number.to_bytes(16, "big"))


def arrived(user_data: bytes, *, sender: str = "AOI", at: datetime = NOW) -> ShortMessageArrived:
    """A short message comes."""
    return ShortMessageArrived(ShortMessage(user_data, sender), at)


def by_sms(payload: Payload) -> ShortMessageArrived:
    """A push comes in one short message."""
    [user_data] = encode_push(payload, transaction_id=1)
    return arrived(user_data)


def token_of(client: str, application: str, instance: str) -> str:
    """What the rehearsed server gives an app instance."""
    return "k." + hashlib.sha256(f"{client}/{application}/{instance}".encode()).hexdigest()


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


class Rehearsal:
    """One device: its view, its disk, and everything that it ever did.

    Whatever is played, these hold, or an assertion fails: what goes out is on the disk before; a
    number is never used twice for an object, and never goes down; a secret never comes back; the
    final word about a delivery never changes, and an app does not see it again.
    """

    def __init__(self, **settings: Any) -> None:
        view = View(device="phone-1", identity="tel:+15550100", offers=OFFERS, network=WIFI)
        self.view = replace(view, **settings)
        self.disk = encode(Stored())
        self.effects: list[Effect] = []
        self._secrets: Iterator[str] = (_secret(n) for n in count(1))
        self._sequences: dict[tuple[str, str], int] = {}
        self._final: dict[str, str] = {}

    @property
    def stored(self) -> Stored:
        """What is on the disk."""
        return decode(self.disk)

    @property
    def generation(self) -> int:
        """The present connection's."""
        return self.view.link.generation

    def play(self, event: Input) -> list[Effect]:
        """This happens; what it leads to."""
        before = self.stored
        decision = decide(self.view, event, fresh_secret=next(self._secrets))
        for effect in decision.effects:
            if isinstance(effect, Store):
                assert effect is decision.effects[0], "stored after something else"
                self.disk = encode(effect.stored)
            elif isinstance(effect, Send):
                assert effect.generation == decision.view.link.generation
                self._check_sent(effect.frame)
            elif isinstance(effect, Deliver):
                known = self._final.get(effect.notification.delivery)
                assert known is None, f"an app saw what was {known}"
        self.view = decision.view
        assert self.stored == self.view.stored, "the disk and the view differ"
        self._check_monotonous(before, self.stored)
        # That nobody was there is true until an app registers.
        self._final = {
            delivery: code
            for delivery, code in self._final.items()
            if code == "delivered" or delivery in self.stored.seen
        }
        self.effects += decision.effects
        return list(decision.effects)

    def restart(self) -> None:
        """The process is killed and started again: only the disk is left."""
        view = self.view
        self.view = View(
            device=view.device,
            identity=view.identity,
            offers=view.offers,
            register_on=view.register_on,
            network=view.network,
            stored=self.stored,
        )
        self.play(Started())

    def receive(self, frame: Any) -> list[Effect]:
        """The server sends a frame over the present connection."""
        return self.play(Received(self.generation, frame))

    def pending(self, name: str) -> tuple[int, Pending]:
        """The latest request of that name that waits for an answer."""
        waiting = [(i, p) for i, p in self.view.link.in_flight.items() if p.name == name]
        assert waiting, f"no {name} under way: {self.view.link.in_flight}"
        return waiting[-1]

    def answer(self, name: str, answer: AnyAnswer) -> list[Effect]:
        """The server answers the latest request of that name."""
        number, _ = self.pending(name)
        body = answer.model_dump(mode="json", exclude_none=True)
        return self.receive(AnswerFrame(id=number, name=ANSWER_TYPES[type(answer)], body=body))

    def welcome(self) -> list[Effect]:
        """The server says welcome."""
        client = self.view.stored.client
        assert client is not None
        return self.receive(
            WelcomeFrame(client=client, session="s1", epoch=1, sequence=0, ping_every=30.0)
        )

    def open(self) -> list[Effect]:
        """The socket opens."""
        return self.play(Opened(self.generation))

    def register(self) -> None:
        """Register and greet, from a new connection to the welcome."""
        self.open()
        self.answer("client.register", ClientRegisteredV1(client=self.server_id()))
        self.welcome()

    def connect(self) -> None:
        """Greet with a known AOI Client ID."""
        self.open()
        self.welcome()

    def server_id(self) -> str:
        """The AOI Client ID that the rehearsed server gives to the present secret."""
        assert self.view.stored.credentials is not None
        return client_id_of(hash_secret(self.view.stored.credentials.secret))

    def serve(self, *, pending_sms: bool = False) -> None:
        """Answer everything that is asked, until nothing is: a server that does its part."""
        for _ in range(200):
            waiting = list(self.view.link.in_flight.values())
            if not waiting:
                return
            self._serve_one(waiting[-1], pending_sms)
        raise AssertionError("the device never stops asking")

    def sent(self, kind: type[F]) -> list[F]:
        """Frames of that kind that went out."""
        frames = [e.frame for e in self.effects if isinstance(e, Send)]
        return [frame for frame in frames if isinstance(frame, kind)]

    def requests(self, name: str) -> list[RequestFrame]:
        """Requests of that name that went out."""
        return [frame for frame in self.sent(RequestFrame) if frame.name == name]

    def told(self, kind: type[E]) -> list[E]:
        """Events of that kind that were told."""
        events: list[ClientEvent] = [e.event for e in self.effects if isinstance(e, Tell)]
        return [event for event in events if isinstance(event, kind)]

    def opened(self) -> list[Open]:
        """Connections that were asked for."""
        return [effect for effect in self.effects if isinstance(effect, Open)]

    def delivered(self) -> list[Deliver]:
        """Notifications that apps were given."""
        return [effect for effect in self.effects if isinstance(effect, Deliver)]

    def acks(self) -> list[tuple[str, str, str | None]]:
        """Acknowledgements that went out: delivery, code, channel."""
        return [(ack.delivery, ack.code, ack.channel) for ack in self.sent(AckFrame)]

    def _serve_one(self, pending: Pending, pending_sms: bool) -> None:
        if pending.name == "client.register":
            self.answer(pending.name, ClientRegisteredV1(client=self.server_id()))
            self.welcome()
        elif pending.name == "application.register":
            application, instance = pending.about.split("/")
            token = token_of(self.view.stored.client or "", application, instance)
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
                for offer in self.view.offers
            )
            sequence = pending.sequence or self.view.stored.sequence
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
    def _check_monotonous(before: Stored, after: Stored) -> None:
        assert after.sequence >= before.sequence
        for key, record in before.applications.items():
            assert after.applications[key].sequence >= record.sequence
