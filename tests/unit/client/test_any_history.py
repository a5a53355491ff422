"""Whatever happens in whatever order, the promises hold, and the client ends where it should."""

from __future__ import annotations

import json

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aoi_events.client.core.inputs import (
    ApplicationRemoved,
    ApplicationStarted,
    ApplicationStopped,
    ClientStarted,
    ConnectionClosed,
    ConnectionOpened,
    IdentityChanged,
    NetworkChanged,
    NotificationHandled,
    OfferDue,
    OffersChanged,
    PushArrived,
    ReconnectRequested,
    RequestTimedOut,
)
from aoi_events.client.core.model import Network, Phase
from aoi_events.client.core.state import AckCode
from aoi_events.contracts.answers import (
    ANSWER_TYPES,
    AnyAnswer,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    RefusedV1,
    UnselectedChannel,
)
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import AnswerFrame, CloseCode, WelcomeFrame
from aoi_events.contracts.requests import ChannelOffer, Circumstances
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import ErrorCode
from aoi_events.oma_push.datagrams import Reference
from aoi_events.oma_push.payload import ChallengePush, ContentPush, WakeUpPush, encode
from tests.support.device_frames import delivery_id
from tests.unit.client.device_harness import (
    CELLULAR,
    EXPIRES_AT,
    OFFERS,
    WIFI,
    DeviceHarness,
    arrived,
    by_sms,
    content_of,
    notification,
)

APPS = st.sampled_from(["mail", "chat", "maps"])
NUMBERS = st.integers(0, 5)
CODES: st.SearchStrategy[AckCode] = st.sampled_from(["delivered", "could_not_wake"])
OFFLINE = Network(Circumstances(bearer="none"))


class AnyHistory(RuleBasedStateMachine):
    """A device to which anything happens; `DeviceHarness` checks each step."""

    def __init__(self) -> None:
        super().__init__()
        self.device = DeviceHarness()
        self.device.feed(ClientStarted())
        self.tokens = ["k.never-issued"]

    @rule(app=APPS)
    def app_asks(self, app: str) -> None:
        """An app starts and asks."""
        self.device.feed(ApplicationStarted(app, "default"))

    @rule(app=APPS)
    def app_stops(self, app: str) -> None:
        """An app stops."""
        self.device.feed(ApplicationStopped(f"{app}/default"))

    @rule(app=APPS)
    def app_leaves(self, app: str) -> None:
        """An app gives its registration up."""
        self.device.feed(ApplicationRemoved(f"{app}/default"))

    @rule(identity=st.sampled_from(["tel:+15550100", "tel:+15550101"]))
    def identity_changes(self, identity: str) -> None:
        """Another user, or the same one again."""
        self.device.feed(IdentityChanged(identity))

    @rule(network=st.sampled_from([WIFI, CELLULAR, OFFLINE]))
    def network_changes(self, network: Network) -> None:
        """Another network, or none."""
        self.device.feed(NetworkChanged(network))

    @rule(offers=st.sampled_from([OFFERS, OFFERS[:1]]))
    def offers_change(self, offers: tuple[ChannelOffer, ...]) -> None:
        """The device gains or loses SMS."""
        self.device.feed(OffersChanged(offers))

    @rule()
    def reconnects(self) -> None:
        """The app asks for a connection."""
        self.device.feed(ReconnectRequested())

    @rule(number=st.integers(0, 3))
    def pause_before_an_offer_ends(self, number: int) -> None:
        """The present pause before an offer is over, or an earlier one."""
        self.device.feed(OfferDue(self.device.model.offer_pause.number - number))

    @rule()
    def restarts(self) -> None:
        """The process is killed and started again."""
        self.device.restart()

    @precondition(lambda self: self.device.model.connection.phase is Phase.CONNECTING)
    @rule()
    def socket_opens(self) -> None:
        """The socket opens."""
        self.device.open()

    @rule(generation=st.integers(0, 30))
    def late_event_of_an_old_connection(self, generation: int) -> None:
        """Late inputs of an earlier connection change nothing."""
        if generation < self.device.generation:
            before = self.device.model
            self.device.feed(ConnectionOpened(generation))
            self.device.feed(ConnectionClosed(generation, CloseCode.RETIRED, "late"))
            assert self.device.model == before

    @precondition(lambda self: self.device.model.connection.phase is not Phase.IDLE)
    @rule(code=st.sampled_from([None, *CloseCode]))
    def connection_ends(self, code: int | None) -> None:
        """The connection ends, with any code."""
        self.device.feed(ConnectionClosed(self.device.generation, code, "ended"))

    @precondition(lambda self: self.device.model.connection.phase is Phase.GREETING)
    @rule(sequence=st.integers(-1, 20), closed=st.booleans())
    def server_welcomes(self, sequence: int, closed: bool) -> None:
        """The server says welcome."""
        gone = (UnselectedChannel(type="sms", reason="gone"),) if closed else ()
        client = self.device.model.stored.client or ""
        self.device.receive(
            WelcomeFrame(
                client=client,
                session="s",
                epoch=1,
                sequence=sequence,
                ping_every=30.0,
                closed=gone,
            )
        )

    @precondition(lambda self: self.device.model.connection.in_flight)
    @rule()
    def server_does_its_part(self) -> None:
        """The server answers the latest request as it should."""
        connection = self.device.model.connection
        if all(p.name != "notification.fetch" for p in connection.in_flight.values()):
            name = list(connection.in_flight.values())[-1].name
            if name != "client.register" or connection.phase is Phase.OPEN:
                self.device._serve_one(list(connection.in_flight.values())[-1], pending_sms=True)
        self.tokens += [r.token for r in self.device.stored.applications.values() if r.token]

    @precondition(lambda self: self.device.model.connection.in_flight)
    @rule(code=st.sampled_from([str(code) for code in ErrorCode]), index=st.integers(0, 7))
    def server_refuses(self, code: str, index: int) -> None:
        """The server refuses a request, with any code."""
        self._answer(index, RefusedV1(code=code, message="no"))

    @precondition(lambda self: self.device.model.connection.in_flight)
    @rule(sequence=st.integers(-1, 2**54), index=st.integers(0, 7))
    def server_does_not_apply(self, sequence: int, index: int) -> None:
        """The server says that it has seen a higher number."""
        waiting = list(self.device.model.connection.in_flight.values())
        # A number near the end of all numbers would end the history's sequences for good.
        sequence = sequence if sequence > 2**53 else sequence % 50
        pending = waiting[index % len(waiting)]
        if pending.name == "channel.activate":
            self._answer(index, ChannelsActivatedV1(sequence=sequence, applied=False, selected=()))
        elif pending.name == "application.register":
            self._answer(index, ApplicationRegisteredV1(sequence=sequence, applied=False))

    @precondition(lambda self: self.device.model.connection.in_flight)
    @rule(index=st.integers(0, 7), name=st.sampled_from(["refused.v1", "new.v9", "refused.v2"]))
    def server_answers_nonsense(self, index: int, name: str) -> None:
        """The server answers with an unreadable body."""
        numbers = list(self.device.model.connection.in_flight)
        number = numbers[index % len(numbers)]
        self.device.receive(AnswerFrame(id=number, name=name, body={"code": 7}))

    @precondition(lambda self: self.device.model.connection.in_flight)
    @rule(index=st.integers(0, 7))
    def answer_is_late(self, index: int) -> None:
        """The time for an answer ends."""
        numbers = list(self.device.model.connection.in_flight)
        self.device.feed(RequestTimedOut(self.device.generation, numbers[index % len(numbers)]))

    @precondition(lambda self: self.device.model.connected)
    @rule(number=NUMBERS, token=st.integers(0, 20), attempt=st.integers(-1, 3))
    def notification_comes(self, number: int, token: int, attempt: int) -> None:
        """A notification comes over the connection."""
        frame = notification(number, self._token(token), attempt=attempt)
        self.device.receive(frame)

    @rule(number=NUMBERS, token=st.integers(0, 20))
    def content_comes_by_sms(self, number: int, token: int) -> None:
        """A notification comes by SMS."""
        push = ContentPush(
            delivery_id(number), fingerprint_of(self._token(token)), Content(data="hi")
        )
        self.device.feed(by_sms(push))

    @rule(number=NUMBERS, token=st.integers(0, 20))
    def wake_up_comes_by_sms(self, number: int, token: int) -> None:
        """A wake-up comes by SMS."""
        push = WakeUpPush(delivery_id(number), fingerprint_of(self._token(token)))
        self.device.feed(by_sms(push))

    @rule(number=NUMBERS, token=st.integers(0, 20), part=st.integers(0, 2))
    def part_comes_by_sms(self, number: int, token: int, part: int) -> None:
        """One short message of a notification comes, or comes again."""
        content = Content(data=f"{number}" * 300)
        push = ContentPush(delivery_id(number), fingerprint_of(self._token(token)), content)
        messages = encode(push, transaction_id=1, most=4, reference=Reference(16, number))
        self.device.feed(arrived(messages[part]))

    @rule(
        channel=st.sampled_from(["webpush", "webhook"]),
        number=NUMBERS,
        token=st.integers(0, 20),
        kind=st.sampled_from(["notification", "wake_up", "challenge", "strange"]),
    )
    def push_comes(self, channel: str, number: int, token: int, kind: str) -> None:
        """Something is pushed over another channel."""
        push = {
            "type": kind,
            "delivery": delivery_id(number),
            "attempt": 1,
            "fingerprint": fingerprint_of(self._token(token)),
            "urgency": "normal",
            "content": {"data": "hi"},
            "channel": channel,
            "code": "AAAAAA",
            "expires_at": EXPIRES_AT,
        }
        self.device.feed(PushArrived(channel, json.dumps(push).encode()))

    @rule(code=st.sampled_from(["AAAAAA", "BBBBBB", "no good"]))
    def challenge_comes(self, code: str) -> None:
        """A challenge comes by SMS."""
        push = ChallengePush(code.replace(" ", "-"))
        self.device.feed(by_sms(push))

    @precondition(lambda self: self.device.model.handling)
    @rule(code=CODES)
    def app_is_done(self, code: AckCode) -> None:
        """An app took a notification, or could not."""
        self.device.feed(NotificationHandled(next(iter(self.device.model.handling)), code))

    @precondition(lambda self: self.device.model.connected)
    @rule(token=st.integers(0, 20))
    def content_is_fetched(self, token: int) -> None:
        """The server answers a fetch."""
        for number, pending in list(self.device.model.connection.in_flight.items()):
            if pending.name == "notification.fetch":
                self._reply(number, content_of(pending.about, self._token(token)))
                return

    @invariant()
    def secrets_do_not_show(self) -> None:
        """No repr shows a secret or a token."""
        credentials = self.device.model.stored.credentials
        if credentials is not None:
            assert credentials.secret not in repr(self.device.model)
        assert all(token not in repr(self.device.model) for token in self.tokens[1:])

    def teardown(self) -> None:
        """After any history, with a network and a server that works, nothing stays due."""
        device = self.device
        device.feed(NetworkChanged(WIFI))
        device.feed(ReconnectRequested())
        if device.model.stored.credentials is None:
            return
        device.feed(ConnectionClosed(device.generation, None, "lost"))
        assert device.model.connection.phase is Phase.CONNECTING
        device.open()
        if not device.model.connection.in_flight:
            device.welcome()
        while device.model.handling:
            self.app_is_done("delivered")
        self._serve_fetches()
        device.serve()
        assert device.model.connected
        stored = device.stored
        for record in stored.applications.values():
            assert not record.due or record.sequence >= 2**53 - 1
            assert (record.token is not None) == record.wanted
        assert stored.activated in (None, device.model.offered)
        assert not stored.activating
        assert not (stored.closed and stored.any_wanted)
        assert {ack.channel for ack in stored.acks.values()} <= {"sms"}
        assert stored.wake_ups == {}

    def _serve_fetches(self) -> None:
        for _ in range(100):
            fetches = [
                (number, pending)
                for number, pending in self.device.model.connection.in_flight.items()
                if pending.name == "notification.fetch"
            ]
            if not fetches and not self.device.model.connection.in_flight:
                return
            if fetches:
                self._reply(fetches[0][0], RefusedV1(code="expired", message="late"))
            else:
                pending = list(self.device.model.connection.in_flight.values())[-1]
                self.device._serve_one(pending, pending_sms=False)
        raise AssertionError("the device never stops asking")

    def _token(self, index: int) -> str:
        return self.tokens[index % len(self.tokens)]

    def _answer(self, index: int, answer: AnyAnswer) -> None:
        numbers = list(self.device.model.connection.in_flight)
        self._reply(numbers[index % len(numbers)], answer)

    def _reply(self, number: int, answer: AnyAnswer) -> None:
        body = answer.model_dump(mode="json", exclude_none=True)
        self.device.receive(AnswerFrame(id=number, name=ANSWER_TYPES[type(answer)], body=body))


AnyHistory.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, print_blob=True
)
TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.__doc__ = "No order of events breaks a promise, and every history comes to rest."
