"""8.1.4 Notification Delivery."""

from __future__ import annotations

import pytest

from aoi_events.client.core.effects import Deliver
from aoi_events.client.core.events import (
    DuplicateDropped,
    NotificationReceived,
    WakeUpEnded,
)
from aoi_events.client.core.inputs import (
    ApplicationAsked,
    ApplicationLeft,
    ApplicationStopped,
    Closed,
    Handled,
    ShortMessageArrived,
    Started,
)
from aoi_events.client.core.model import HANDLING_LIMIT
from aoi_events.client.core.state import SEEN_LIMIT
from aoi_events.contracts.answers import NotificationContentV1, RefusedV1
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import AckFrame, WakeUpFrame
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.oma_push.payload import ContentPush, WakeUpPush
from tests.unit.client.rehearsal import (
    EXPIRES_AT,
    MAIL,
    Rehearsal,
    by_sms,
    delivery_id,
    notification,
)

KEY = f"{MAIL}/default"
ONE = delivery_id(1)


class Device:
    """A registered device with one app, and its token."""

    def __init__(self, *, can_wake: bool = False) -> None:
        self.rehearsal = Rehearsal(can_wake=can_wake)
        self.rehearsal.play(Started())
        self.rehearsal.play(ApplicationAsked(MAIL, "default"))
        self.rehearsal.register()
        self.rehearsal.serve()
        self.token = self.rehearsal.stored.applications[KEY].token or ""

    def sms(self, number: int, text: str = "hello") -> ShortMessageArrived:
        """A notification by SMS."""
        content = Content(data=text)
        push = ContentPush(delivery_id(number), fingerprint_of(self.token), content)
        return by_sms(push)

    def wake_up(self, number: int) -> ShortMessageArrived:
        """A wake-up by SMS."""
        push = WakeUpPush(delivery_id(number), fingerprint_of(self.token))
        return by_sms(push)

    def content(self, number: int) -> NotificationContentV1:
        """The content behind a wake-up."""
        return NotificationContentV1.model_validate(
            {
                "delivery": delivery_id(number),
                "notification": f"n-{number}",
                "token": self.token,
                "content": {"data": "large"},
                "urgency": "normal",
                "expires_at": EXPIRES_AT,
            }
        )

    def cut(self) -> None:
        """The connection is lost."""
        self.rehearsal.play(Closed(self.rehearsal.generation, None, "lost"))


@pytest.fixture
def device() -> Device:
    """A registered device whose app runs."""
    return Device()


def test_forwards_to_the_running_application_of_the_token(device: Device) -> None:
    """8.1.4: "SHALL forward the notification to the Application Client instance matching […]"."""
    rehearsal = device.rehearsal
    rehearsal.play(ApplicationAsked(MAIL, "second"))
    rehearsal.serve()
    token = rehearsal.stored.applications[f"{MAIL}/second"].token or ""
    effects = rehearsal.receive(notification(1, token))
    [deliver] = [effect for effect in effects if isinstance(effect, Deliver)]
    assert (deliver.notification.application, deliver.notification.instance) == (MAIL, "second")
    assert deliver.notification.content.data == "hello"
    assert not deliver.wake
    assert rehearsal.acks() == []
    rehearsal.play(Handled(ONE, "delivered"))
    assert rehearsal.acks() == [(ONE, "delivered", "websocket")]


def test_wakes_an_application_that_is_configured_to_be_woken() -> None:
    """8.1.4: "if the Application Client is […] otherwise configured to be woken up"."""
    device = Device(can_wake=True)
    device.rehearsal.play(ApplicationStopped(KEY))
    device.rehearsal.receive(notification(1, device.token))
    assert device.rehearsal.delivered()[-1].wake
    assert device.rehearsal.told(NotificationReceived)[-1].woken


def test_says_that_it_could_not_wake(device: Device) -> None:
    """An app that neither runs nor can be woken: the acknowledgement says so, and only now."""
    rehearsal = device.rehearsal
    rehearsal.play(ApplicationStopped(KEY))
    rehearsal.receive(notification(1, device.token))
    assert rehearsal.acks() == [(ONE, "could_not_wake", "websocket")]
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.receive(notification(1, device.token, attempt=2))
    rehearsal.play(Handled(ONE, "delivered"))
    assert rehearsal.acks()[-1] == (ONE, "delivered", "websocket")


def test_says_that_waking_failed() -> None:
    """A wake that fails is acknowledged as what it is."""
    device = Device(can_wake=True)
    device.rehearsal.play(ApplicationStopped(KEY))
    device.rehearsal.receive(notification(1, device.token))
    device.rehearsal.play(Handled(ONE, "could_not_wake"))
    assert device.rehearsal.acks() == [(ONE, "could_not_wake", "websocket")]


def test_says_that_there_is_no_such_application(device: Device) -> None:
    """A token whose app instance is gone: the acknowledgement ends it at the server."""
    rehearsal = device.rehearsal
    rehearsal.play(ApplicationLeft(KEY))
    rehearsal.serve()
    rehearsal.receive(notification(1, device.token))
    assert rehearsal.acks() == [(ONE, "no_such_application", "websocket")]


def test_an_application_that_registers_again_gets_what_it_missed(device: Device) -> None:
    """That there was no such application was true before; a repeat is not answered from memory."""
    rehearsal = device.rehearsal
    rehearsal.receive(notification(1, "k.unknown-token"))
    assert rehearsal.acks() == [(ONE, "no_such_application", "websocket")]
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.serve()
    rehearsal.receive(notification(1, device.token, attempt=2))
    rehearsal.play(Handled(ONE, "delivered"))
    assert rehearsal.acks()[-1] == (ONE, "delivered", "websocket")


def test_what_nobody_took_is_put_off_when_an_application_registers(device: Device) -> None:
    """That nobody was there was to be said again at the next welcome, and is true no more."""
    rehearsal = device.rehearsal
    push = ContentPush(ONE, fingerprint_of("k.unknown-token"), Content(data="hello"))
    rehearsal.play(by_sms(push))
    assert rehearsal.acks() == [(ONE, "no_such_application", "sms")]
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.serve()
    assert rehearsal.stored.acks[ONE].code == "could_not_wake"


def test_unknown_token_while_an_application_waits_for_its_own(device: Device) -> None:
    """While a token is being renewed, an unknown one is put off: it may be the new one."""
    rehearsal = device.rehearsal
    rehearsal.play(ApplicationAsked("org.example.chat", "default"))
    rehearsal.receive(notification(1, "k.unknown-token"))
    assert rehearsal.acks() == [(ONE, "could_not_wake", "websocket")]


def test_duplicate_across_channels_is_dropped(device: Device) -> None:
    """The same delivery by WebSocket and SMS reaches the app once, and both are acknowledged."""
    rehearsal = device.rehearsal
    rehearsal.receive(notification(1, device.token))
    rehearsal.play(Handled(ONE, "delivered"))
    rehearsal.play(device.sms(1))
    assert len(rehearsal.delivered()) == 1
    assert rehearsal.acks() == [(ONE, "delivered", "websocket"), (ONE, "delivered", "sms")]
    assert rehearsal.told(DuplicateDropped) == [DuplicateDropped(ONE, "sms")]


def test_duplicate_while_the_app_is_at_it(device: Device) -> None:
    """A repeat during the handler waits for its end, and is then acknowledged with it."""
    rehearsal = device.rehearsal
    rehearsal.receive(notification(1, device.token))
    rehearsal.receive(notification(1, device.token, attempt=2))
    assert rehearsal.acks() == []
    rehearsal.play(Handled(ONE, "delivered"))
    assert [ack.attempt for ack in rehearsal.sent(AckFrame)] == [1, 2]
    assert len(rehearsal.delivered()) == 1


def test_stored_acknowledgement_is_repeated_after_a_restart(device: Device) -> None:
    """A repeat after a restart gets the same acknowledgement, without the app."""
    rehearsal = device.rehearsal
    rehearsal.receive(notification(1, device.token))
    rehearsal.play(Handled(ONE, "delivered"))
    rehearsal.restart()
    rehearsal.connect()
    rehearsal.receive(notification(1, device.token, attempt=2))
    assert rehearsal.acks()[-1] == (ONE, "delivered", "websocket")
    assert len(rehearsal.delivered()) == 1


def test_sms_while_disconnected_is_acknowledged_at_the_next_connection(device: Device) -> None:
    """The acknowledgement of a delivery by SMS is kept, through a restart, and says its channel."""
    rehearsal = device.rehearsal
    device.cut()
    rehearsal.play(device.sms(1, "by radio"))
    assert rehearsal.delivered()[-1].notification.content.data == "by radio"
    rehearsal.play(Handled(ONE, "delivered"))
    assert rehearsal.acks() == []
    rehearsal.restart()
    rehearsal.connect()
    assert rehearsal.acks() == [(ONE, "delivered", "sms")]
    assert rehearsal.stored.acks == {}


def test_sms_while_the_connection_may_be_dead(device: Device) -> None:
    """An SMS during a session is acknowledged at once, and again after the next welcome."""
    rehearsal = device.rehearsal
    rehearsal.play(device.sms(1))
    rehearsal.play(Handled(ONE, "delivered"))
    assert rehearsal.acks() == [(ONE, "delivered", "sms")]
    device.cut()
    rehearsal.connect()
    assert rehearsal.acks() == [(ONE, "delivered", "sms")] * 2
    device.cut()
    rehearsal.connect()
    assert len(rehearsal.acks()) == 2


def test_wake_up_is_fetched_at_the_next_connection(device: Device) -> None:
    """A wake-up by SMS survives a restart; its content is fetched, handled and acknowledged."""
    rehearsal = device.rehearsal
    device.cut()
    rehearsal.play(device.wake_up(1))
    rehearsal.restart()
    rehearsal.play(ApplicationAsked(MAIL, "default"))
    rehearsal.connect()
    [fetch] = rehearsal.requests("notification.fetch")
    assert fetch.body["delivery"] == ONE
    rehearsal.answer("notification.fetch", device.content(1))
    assert rehearsal.delivered()[-1].notification.content.data == "large"
    rehearsal.play(Handled(ONE, "delivered"))
    assert rehearsal.acks() == [(ONE, "delivered", "sms")]
    assert rehearsal.stored.wake_ups == {}


def test_wake_up_that_another_channel_was_faster_for(device: Device) -> None:
    """Content that came over the WebSocket meanwhile is not given to the app a second time."""
    rehearsal = device.rehearsal
    rehearsal.play(device.wake_up(1))
    rehearsal.receive(notification(1, device.token))
    rehearsal.play(Handled(ONE, "delivered"))
    rehearsal.answer("notification.fetch", device.content(1))
    assert len(rehearsal.delivered()) == 1


def test_wake_up_over_the_connection(device: Device) -> None:
    """A wake-up over the WebSocket is fetched at once, and acknowledged with its attempt."""
    rehearsal = device.rehearsal
    frame = WakeUpFrame.model_validate(
        notification(1, device.token, attempt=3).model_dump(exclude={"type", "content"})
    )
    rehearsal.receive(frame)
    rehearsal.answer("notification.fetch", device.content(1))
    rehearsal.play(Handled(ONE, "delivered"))
    [ack] = rehearsal.sent(AckFrame)
    assert (ack.channel, ack.attempt) == ("websocket", 3)


@pytest.mark.parametrize("code", ["expired", "not_found", "cancelled"])
def test_wake_up_without_content(device: Device, code: str) -> None:
    """What expired or was withdrawn before it was fetched is forgotten, and told."""
    rehearsal = device.rehearsal
    rehearsal.play(device.wake_up(1))
    rehearsal.answer("notification.fetch", RefusedV1(code=code, message="too late"))
    assert rehearsal.stored.wake_ups == {}
    assert rehearsal.told(WakeUpEnded) == [WakeUpEnded(ONE, code)]
    assert rehearsal.acks() == []


def test_wake_up_that_cannot_be_fetched_now(device: Device) -> None:
    """A fetch that is refused for another reason is made again at the next connection."""
    rehearsal = device.rehearsal
    rehearsal.play(device.wake_up(1))
    rehearsal.answer("notification.fetch", RefusedV1(code="not_allowed", message="no"))
    assert len(rehearsal.requests("notification.fetch")) == 1
    device.cut()
    rehearsal.connect()
    assert len(rehearsal.requests("notification.fetch")) == 2


def test_wake_up_that_comes_again_is_fetched_again(device: Device) -> None:
    """A fetch that was refused waits, but another wake-up of the delivery is a new occasion."""
    rehearsal = device.rehearsal
    rehearsal.play(device.wake_up(1))
    rehearsal.answer("notification.fetch", RefusedV1(code="not_allowed", message="no"))
    rehearsal.play(device.wake_up(2))
    assert [each.body["delivery"] for each in rehearsal.requests("notification.fetch")] == [
        ONE,
        delivery_id(2),
    ]
    rehearsal.play(device.wake_up(1))
    assert rehearsal.requests("notification.fetch")[-1].body["delivery"] == ONE


def test_content_of_another_delivery_is_ignored(device: Device) -> None:
    """An answer that names another delivery than was asked for reaches no app."""
    rehearsal = device.rehearsal
    rehearsal.play(device.wake_up(1))
    rehearsal.answer("notification.fetch", device.content(2))
    assert rehearsal.delivered() == []
    assert rehearsal.acks() == []


def test_memory_of_deliveries_is_bounded(device: Device) -> None:
    """Old acknowledgements make room for new ones."""
    for number in range(SEEN_LIMIT + 10):
        device.rehearsal.receive(notification(number, device.token))
        device.rehearsal.play(Handled(delivery_id(number), "delivered"))
    assert len(device.rehearsal.stored.seen) == SEEN_LIMIT
    assert delivery_id(9) not in device.rehearsal.stored.seen


def test_flood_of_notifications_is_put_off(device: Device) -> None:
    """What an app has not taken is bounded; the rest is put off, with the truth."""
    for number in range(HANDLING_LIMIT + 1):
        device.rehearsal.receive(notification(number, device.token))
    assert device.rehearsal.acks() == [(delivery_id(HANDLING_LIMIT), "could_not_wake", "websocket")]


def test_impossible_attempt_is_left_out(device: Device) -> None:
    """A server's attempt that no acknowledgement may carry does not break the client."""
    device.rehearsal.receive(notification(1, device.token, attempt=-3))
    device.rehearsal.play(Handled(ONE, "delivered"))
    assert device.rehearsal.sent(AckFrame)[-1].attempt is None
