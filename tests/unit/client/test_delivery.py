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
    ApplicationRemoved,
    ApplicationStarted,
    ApplicationStopped,
    NotificationHandled,
)
from aoi_events.client.core.model import HANDLING_LIMIT
from aoi_events.client.core.state import SEEN_LIMIT
from aoi_events.contracts.answers import RefusedV1
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import AckFrame, WakeUpFrame
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.oma_push.payload import ContentPush
from tests.support.device_frames import delivery_id
from tests.unit.client.device_harness import (
    MAIL,
    RegisteredDevice,
    by_sms,
    notification,
)

KEY = f"{MAIL}/default"
ONE = delivery_id(1)


@pytest.fixture
def device() -> RegisteredDevice:
    """A registered device whose app runs."""
    return RegisteredDevice()


def test_forwards_to_the_running_application_of_the_token(device: RegisteredDevice) -> None:
    """8.1.4: "SHALL forward the notification to the Application Client instance matching […]"."""
    device.feed(ApplicationStarted(MAIL, "second"))
    device.serve()
    token = device.stored.applications[f"{MAIL}/second"].token or ""
    effects = device.receive(notification(1, token))
    [deliver] = [effect for effect in effects if isinstance(effect, Deliver)]
    assert (deliver.notification.application, deliver.notification.instance) == (MAIL, "second")
    assert deliver.notification.content.data == "hello"
    assert not deliver.wake
    assert device.acks() == []
    device.feed(NotificationHandled(ONE, "delivered"))
    assert device.acks() == [(ONE, "delivered", "websocket")]


def test_wakes_an_application_that_is_configured_to_be_woken() -> None:
    """8.1.4: "if the Application Client is […] otherwise configured to be woken up"."""
    device = RegisteredDevice(can_wake=True)
    device.feed(ApplicationStopped(KEY))
    device.receive(notification(1, device.token))
    assert device.delivered()[-1].wake
    assert device.emitted(NotificationReceived)[-1].woken


def test_says_that_it_could_not_wake(device: RegisteredDevice) -> None:
    """If an app neither runs nor can be woken the code is *could not wake*, which is not final."""
    device.feed(ApplicationStopped(KEY))
    device.receive(notification(1, device.token))
    assert device.acks() == [(ONE, "could_not_wake", "websocket")]
    device.feed(ApplicationStarted(MAIL, "default"))
    device.receive(notification(1, device.token, attempt=2))
    device.feed(NotificationHandled(ONE, "delivered"))
    assert device.acks()[-1] == (ONE, "delivered", "websocket")


def test_says_that_waking_failed() -> None:
    """A wake that fails is acknowledged as what it is."""
    device = RegisteredDevice(can_wake=True)
    device.feed(ApplicationStopped(KEY))
    device.receive(notification(1, device.token))
    device.feed(NotificationHandled(ONE, "could_not_wake"))
    assert device.acks() == [(ONE, "could_not_wake", "websocket")]


def test_says_that_there_is_no_such_application(device: RegisteredDevice) -> None:
    """For a token without an app instance the code is *no such application*."""
    device.feed(ApplicationRemoved(KEY))
    device.serve()
    device.receive(notification(1, device.token))
    assert device.acks() == [(ONE, "no_such_application", "websocket")]


def test_an_application_that_registers_again_gets_what_it_missed(device: RegisteredDevice) -> None:
    """That there was no such application was true before; a repeat is not answered from memory."""
    device.receive(notification(1, "k.unknown-token"))
    assert device.acks() == [(ONE, "no_such_application", "websocket")]
    device.feed(ApplicationStarted(MAIL, "default"))
    device.serve()
    device.receive(notification(1, device.token, attempt=2))
    device.feed(NotificationHandled(ONE, "delivered"))
    assert device.acks()[-1] == (ONE, "delivered", "websocket")


def test_no_such_application_is_forgotten_when_an_application_registers(
    device: RegisteredDevice,
) -> None:
    """A pending *no such application* becomes *could not wake* when an app registers."""
    push = ContentPush(ONE, fingerprint_of("k.unknown-token"), Content(data="hello"))
    device.feed(by_sms(push))
    assert device.acks() == [(ONE, "no_such_application", "sms")]
    device.feed(ApplicationStarted(MAIL, "default"))
    device.serve()
    assert device.stored.acks[ONE].code == "could_not_wake"


def test_unknown_token_while_an_application_waits_for_its_own(device: RegisteredDevice) -> None:
    """While a token is being renewed, an unknown one is put off: it may be the new one."""
    device.feed(ApplicationStarted("org.example.chat", "default"))
    device.receive(notification(1, "k.unknown-token"))
    assert device.acks() == [(ONE, "could_not_wake", "websocket")]


def test_duplicate_across_channels_is_dropped(device: RegisteredDevice) -> None:
    """The same delivery by WebSocket and SMS reaches the app once, and both are acknowledged."""
    device.receive(notification(1, device.token))
    device.feed(NotificationHandled(ONE, "delivered"))
    device.feed(device.sms(1))
    assert len(device.delivered()) == 1
    assert device.acks() == [(ONE, "delivered", "websocket"), (ONE, "delivered", "sms")]
    assert device.emitted(DuplicateDropped) == [DuplicateDropped(ONE, "sms")]


def test_duplicate_while_the_app_is_at_it(device: RegisteredDevice) -> None:
    """A repeat during the handler waits for its end, and is then acknowledged with it."""
    device.receive(notification(1, device.token))
    device.receive(notification(1, device.token, attempt=2))
    assert device.acks() == []
    device.feed(NotificationHandled(ONE, "delivered"))
    assert [ack.attempt for ack in device.sent(AckFrame)] == [1, 2]
    assert len(device.delivered()) == 1


def test_stored_acknowledgement_is_repeated_after_a_restart(device: RegisteredDevice) -> None:
    """A repeat after a restart gets the same acknowledgement, without the app."""
    device.receive(notification(1, device.token))
    device.feed(NotificationHandled(ONE, "delivered"))
    device.restart()
    device.connect()
    device.receive(notification(1, device.token, attempt=2))
    assert device.acks()[-1] == (ONE, "delivered", "websocket")
    assert len(device.delivered()) == 1


def test_sms_while_disconnected_is_acknowledged_when_connected(
    device: RegisteredDevice,
) -> None:
    """The acknowledgement of a delivery by SMS survives a restart, and names its channel."""
    device.lose_connection()
    device.feed(device.sms(1, "by radio"))
    assert device.delivered()[-1].notification.content.data == "by radio"
    device.feed(NotificationHandled(ONE, "delivered"))
    assert device.acks() == []
    device.restart()
    device.connect()
    assert device.acks() == [(ONE, "delivered", "sms")]
    assert device.stored.acks == {}


def test_sms_while_the_connection_may_be_dead(device: RegisteredDevice) -> None:
    """An SMS during a session is acknowledged at once, and again after the next welcome."""
    device.feed(device.sms(1))
    device.feed(NotificationHandled(ONE, "delivered"))
    assert device.acks() == [(ONE, "delivered", "sms")]
    device.lose_connection()
    device.connect()
    assert device.acks() == [(ONE, "delivered", "sms")] * 2
    device.lose_connection()
    device.connect()
    assert len(device.acks()) == 2


def test_wake_up_is_fetched_at_the_next_connection(device: RegisteredDevice) -> None:
    """A wake-up by SMS survives a restart; its content is fetched, handled and acknowledged."""
    device.lose_connection()
    device.feed(device.wake_up(1))
    device.restart()
    device.feed(ApplicationStarted(MAIL, "default"))
    device.connect()
    [fetch] = device.requests("notification.fetch")
    assert fetch.body["delivery"] == ONE
    device.answer("notification.fetch", device.content(1))
    assert device.delivered()[-1].notification.content.data == "large"
    device.feed(NotificationHandled(ONE, "delivered"))
    assert device.acks() == [(ONE, "delivered", "sms")]
    assert device.stored.wake_ups == {}


def test_wake_up_that_another_channel_was_faster_for(device: RegisteredDevice) -> None:
    """Content that came over the WebSocket meanwhile is not delivered a second time."""
    device.feed(device.wake_up(1))
    device.receive(notification(1, device.token))
    device.feed(NotificationHandled(ONE, "delivered"))
    device.answer("notification.fetch", device.content(1))
    assert len(device.delivered()) == 1


def test_wake_up_over_the_connection(device: RegisteredDevice) -> None:
    """A wake-up over the WebSocket is fetched at once, and acknowledged with its attempt."""
    frame = WakeUpFrame.model_validate(
        notification(1, device.token, attempt=3).model_dump(exclude={"type", "content"})
    )
    device.receive(frame)
    device.answer("notification.fetch", device.content(1))
    device.feed(NotificationHandled(ONE, "delivered"))
    [ack] = device.sent(AckFrame)
    assert (ack.channel, ack.attempt) == ("websocket", 3)


@pytest.mark.parametrize("code", ["expired", "not_found", "cancelled"])
def test_wake_up_without_content(device: RegisteredDevice, code: str) -> None:
    """A wake-up whose content expired or was cancelled is removed, with an event."""
    device.feed(device.wake_up(1))
    device.answer("notification.fetch", RefusedV1(code=code, message="too late"))
    assert device.stored.wake_ups == {}
    assert device.emitted(WakeUpEnded) == [WakeUpEnded(ONE, code)]
    assert device.acks() == []


def test_wake_up_that_cannot_be_fetched_now(device: RegisteredDevice) -> None:
    """A fetch that is refused for another reason is made again at the next connection."""
    device.feed(device.wake_up(1))
    device.answer("notification.fetch", RefusedV1(code="not_allowed", message="no"))
    assert len(device.requests("notification.fetch")) == 1
    device.lose_connection()
    device.connect()
    assert len(device.requests("notification.fetch")) == 2


def test_wake_up_that_comes_again_is_fetched_again(device: RegisteredDevice) -> None:
    """A refused fetch is postponed; another wake-up of the delivery starts it again."""
    device.feed(device.wake_up(1))
    device.answer("notification.fetch", RefusedV1(code="not_allowed", message="no"))
    device.feed(device.wake_up(2))
    assert [each.body["delivery"] for each in device.requests("notification.fetch")] == [
        ONE,
        delivery_id(2),
    ]
    device.feed(device.wake_up(1))
    assert device.requests("notification.fetch")[-1].body["delivery"] == ONE


def test_content_of_another_delivery_is_ignored(device: RegisteredDevice) -> None:
    """An answer that names another delivery than was asked for reaches no app."""
    device.feed(device.wake_up(1))
    device.answer("notification.fetch", device.content(2))
    assert device.delivered() == []
    assert device.acks() == []


def test_memory_of_deliveries_is_bounded(device: RegisteredDevice) -> None:
    """Old acknowledgements make room for new ones."""
    for number in range(SEEN_LIMIT + 10):
        device.receive(notification(number, device.token))
        device.feed(NotificationHandled(delivery_id(number), "delivered"))
    assert len(device.stored.seen) == SEEN_LIMIT
    assert delivery_id(9) not in device.stored.seen


def test_flood_of_notifications_is_put_off(device: RegisteredDevice) -> None:
    """The notifications that apps handle at once are bounded; more get *could not wake*."""
    for number in range(HANDLING_LIMIT + 1):
        device.receive(notification(number, device.token))
    assert device.acks() == [(delivery_id(HANDLING_LIMIT), "could_not_wake", "websocket")]


def test_impossible_attempt_is_left_out(device: RegisteredDevice) -> None:
    """A server's attempt that no acknowledgement may carry does not break the client."""
    device.receive(notification(1, device.token, attempt=-3))
    device.feed(NotificationHandled(ONE, "delivered"))
    assert device.sent(AckFrame)[-1].attempt is None
