"""Notifications for a browser, and their outcomes."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from aoi_events.contracts.content import MAX_CONTENT, Content, ContentEncryption
from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.contracts.webpush import NotificationMessage, service_messages
from aoi_events.gateway.protocol.effects import Effect, ReportOutcome
from aoi_events.gateway.protocol.webpush import WebPushSession
from tests.support.browser_frames import CHANNEL_ID, ack, say
from tests.support.device_frames import CLIENT, delivery_id
from tests.support.instant import INSTANT as NOW
from tests.unit.gateway.browsers import open_session, push
from tests.unit.gateway.samples import frames


def deliver(session: WebPushSession, number: int = 1, **changes: Any) -> list[Effect]:
    """A step arrives."""
    return session.deliver(push(number, **changes), elapsed=1.0, now=NOW)


def acknowledge(session: WebPushSession, number: int, code: int | None) -> list[OutcomeItem]:
    """The outcomes of an acknowledgement of the browser."""
    effects = session.received(ack(number, code), elapsed=1.0, now=NOW)
    return [effect.outcome for effect in effects if isinstance(effect, ReportOutcome)]


def test_a_notification_is_what_firefox_reads() -> None:
    """channelID, a version that names the delivery, base64url without padding, and its coding."""
    assert frames(deliver(open_session(), 7, data=b"\xfb\xff\xfe sealed")) == [
        {
            "messageType": "notification",
            "channelID": CHANNEL_ID,
            "version": delivery_id(7),
            "data": "-__-IHNlYWxlZA",
            "headers": {"encoding": "aes128gcm"},
        }
    ]


def test_the_older_coding_brings_its_headers() -> None:
    """Aesgcm needs the values of two headers beside the content."""
    encryption = ContentEncryption(
        coding="aesgcm", encryption="salt=AAAA", crypto_key="dh=BBBB;p256ecdsa=CCCC"
    )
    content = Content(data="AAECAw==", encoding="base64", encryption=encryption)
    (message,) = frames(deliver(open_session(), content=content))
    assert message["data"] == "AAECAw"
    assert message["headers"] == {
        "encoding": "aesgcm",
        "encryption": "salt=AAAA",
        "crypto_key": "dh=BBBB;p256ecdsa=CCCC",
    }


@pytest.mark.parametrize("encryption", [None, ContentEncryption(coding="aes128gcm")])
def test_a_push_without_content_has_no_data(encryption: ContentEncryption | None) -> None:
    """A notification without content wakes the service worker without data."""
    content = Content(data="", encryption=encryption)
    (message,) = frames(deliver(open_session(), content=content))
    assert message.keys() == {"messageType", "channelID", "version"}


@pytest.mark.parametrize("data", [b"\xff" * MAX_CONTENT, b"x", b"xx", b"xxx"])
def test_every_content_fits_and_comes_back(data: bytes) -> None:
    """The largest content, and every length of padding."""
    (message,) = frames(deliver(open_session(), data=data))
    read = service_messages.validate_python(message)
    assert isinstance(read, NotificationMessage)
    assert read.data is not None
    assert urlsafe_b64decode(read.data + "=" * (-len(read.data) % 4)) == data


def test_content_that_nobody_encrypted_is_discarded() -> None:
    """Firefox would wake the page without it and acknowledge; so it does not go out."""
    session = open_session()
    (report,) = deliver(session, content=Content.of("in the clear"))
    assert isinstance(report, ReportOutcome)
    assert (report.outcome.kind, report.outcome.attempt) == (OutcomeKind.DISCARDED, 1)
    assert "encrypted" in (report.outcome.detail or "")


@pytest.mark.parametrize(
    "code,attempt,kind",
    [
        (100, 1, OutcomeKind.ACKNOWLEDGED),
        (100, 3, OutcomeKind.ACKNOWLEDGED),
        (None, 1, OutcomeKind.ACKNOWLEDGED),
        (199, 1, OutcomeKind.ACKNOWLEDGED),
        (101, 1, OutcomeKind.DISCARDED),
        (101, 2, OutcomeKind.DISCARDED),
        (102, 1, OutcomeKind.DISCARDED),
        (102, 2, OutcomeKind.ACKNOWLEDGED),
    ],
)
def test_what_an_acknowledgement_means(code: int | None, attempt: int, kind: OutcomeKind) -> None:
    """Each code has its outcome; for a repeated attempt a 102 means delivered."""
    session = open_session()
    deliver(session, 1, attempt=attempt)
    (outcome,) = acknowledge(session, 1, code)
    assert (outcome.kind, outcome.client, outcome.step, outcome.attempt) == (
        kind,
        CLIENT,
        0,
        attempt,
    )
    assert session.lost(now=NOW)[:-1] == [], "nothing is under way any more"


def test_what_was_sent_on_an_earlier_connection_is_spoken_for_as_a_whole() -> None:
    """A late acknowledgement is reported without an attempt, and a late 102 is ignored."""
    session = open_session()
    assert [(o.kind, o.attempt) for o in acknowledge(session, 9, 100)] == [
        (OutcomeKind.ACKNOWLEDGED, None)
    ]
    assert [o.kind for o in acknowledge(session, 9, 101)] == [OutcomeKind.DISCARDED]
    assert acknowledge(session, 9, 102) == []


def test_a_late_word_does_not_drop_what_waits() -> None:
    """A 102 without an attempt in flight leaves the waiting attempt."""
    session = open_session(window=1)
    deliver(session, 1)
    assert deliver(session, 2) == []
    assert acknowledge(session, 2, 102) == []
    effects = session.received(ack(1), elapsed=1.0, now=NOW)
    assert [frame["version"] for frame in frames(effects)] == [delivery_id(2)]


def test_versions_that_name_no_delivery_are_ignored() -> None:
    """Another service's versions, and noise."""
    session = open_session()
    for version in ("", "x", "dlv_", delivery_id(1) + "x", delivery_id(1).upper()):
        update = {"channelID": CHANNEL_ID, "version": version, "code": 100}
        assert session.received(say("ack", updates=[update]), elapsed=1.0, now=NOW) == []


def test_several_acknowledgements_in_one_message() -> None:
    """Each is reported, and the places they leave are filled at once."""
    session = open_session(window=2)
    for number in (1, 2, 3, 4):
        deliver(session, number)
    updates = [json.loads(ack(number))["updates"][0] for number in (1, 2)]
    effects = session.received(say("ack", updates=updates), elapsed=1.0, now=NOW)
    assert [type(effect) for effect in effects[:2]] == [ReportOutcome, ReportOutcome]
    assert [frame["version"] for frame in frames(effects)] == [delivery_id(3), delivery_id(4)]


def test_what_was_not_acknowledged_is_told_at_the_end() -> None:
    """Sent and waiting deliveries are reported as lost, for the next connection."""
    session = open_session(window=1)
    deliver(session, 1)
    deliver(session, 2)
    lost = [a.outcome for a in session.lost(now=NOW) if isinstance(a, ReportOutcome)]
    assert {(each.delivery, each.kind) for each in lost} == {
        (delivery_id(1), OutcomeKind.ROUTE_LOST),
        (delivery_id(2), OutcomeKind.ROUTE_LOST),
    }


def test_a_repeat_has_the_same_version() -> None:
    """A repeated attempt has the same version, by which Firefox recognizes it."""
    first, again = open_session(), open_session()
    assert frames(deliver(first, 1, attempt=1)) == frames(deliver(again, 1, attempt=2))
