"""The rules of one browser's connection: hello, subscriptions, the end."""

from __future__ import annotations

import json

import pytest

from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
)
from aoi_events.contracts.device import MAX_FRAME, CloseCode
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    DeregisterApplicationV1,
    RegisterApplicationV1,
)
from aoi_events.gateway.protocol.effects import Close, EndPresence
from aoi_events.gateway.protocol.webpush.uaids import read_uaid, write_uaid
from tests.support.browser_frames import (
    CHANNEL_ID,
    KEY,
    OWN_SECRET,
    TOKEN,
    UAID,
    ack,
    hello,
    register,
    say,
    unregister,
)
from tests.support.device_frames import CLIENT, SECRET, connected
from tests.support.instant import INSTANT as NOW
from tests.support.strategies import near_misses
from tests.unit.gateway.browsers import (
    ACTIVATED,
    REGISTERED,
    SUBSCRIBED,
    answer,
    asked,
    new_session,
    open_session,
    receive,
    refused,
)
from tests.unit.gateway.samples import closing, frames


def test_a_channel_that_the_server_closed_is_offered_again() -> None:
    """A browser cannot; its command's number is above all of the epochs before."""
    session = new_session()
    receive(session, hello())
    closed = [{"type": "websocket", "reason": "policy"}]
    effects = session.admitted(connected(5, closed=closed), elapsed=1.0, now=NOW)
    assert frames(effects[:1])[0]["messageType"] == "hello"
    request = parse_request("channel.activate", asked(effects[1:]).body)
    assert isinstance(request, ActivateChannelsV1)
    assert request.sequence == (5 << 20) + 1
    assert answer(session, asked(effects[1:]), *ACTIVATED) == []


@pytest.mark.parametrize("alphabet,padding", [("-_", ""), ("-_", "="), ("+/", "=")])
def test_a_subscription_is_an_application_registered_for_its_key(
    alphabet: str, padding: str
) -> None:
    """Register asks for a token of (webpush, channelID), and answers with the endpoint of it."""
    session = open_session()
    key = "BA" + "-_" * 42 + "A"
    said = key.translate(str.maketrans("-_", alphabet)) + padding
    ask = asked(receive(session, register(key=said)))
    assert ask.client == CLIENT
    request = parse_request(ask.name, ask.body)
    assert isinstance(request, RegisterApplicationV1)
    assert (request.client, request.application, request.instance, request.sender_key) == (
        CLIENT,
        "webpush",
        CHANNEL_ID,
        key,
    )
    assert request.sequence == (1 << 20) + 1
    assert frames(answer(session, ask, *SUBSCRIBED)) == [
        {
            "messageType": "register",
            "channelID": CHANNEL_ID,
            "status": 200,
            "pushEndpoint": f"https://push.example/wpush/v1/{TOKEN}",
        }
    ]


def test_unregister_ends_the_application() -> None:
    """The token of the subscription ends; numbers rise from command to command."""
    session = open_session()
    answer(session, asked(receive(session, register())), *SUBSCRIBED)
    ask = asked(receive(session, unregister()))
    request = parse_request(ask.name, ask.body)
    assert isinstance(request, DeregisterApplicationV1)
    assert (request.instance, request.sequence) == (CHANNEL_ID, (1 << 20) + 2)
    gone = ApplicationDeregisteredV1(sequence=request.sequence)
    expected = {"messageType": "unregister", "channelID": CHANNEL_ID, "status": 200}
    assert frames(answer(session, ask, "application.deregistered.v1", gone)) == [expected]


@pytest.mark.parametrize(
    "message,code,status",
    [
        (register(), "invalid", 400),
        (register(), "conflict", 409),
        (register(), "client_retired", 410),
        (register(), "unauthenticated", 410),
        (register(), "quota_exceeded", 429),
        (register(), "unavailable", 503),
        (register(), "internal", 500),
        (register(), "a_new_code", 500),
        (unregister(), "unavailable", 503),
        (unregister(), "internal", 500),
        (unregister(), "not_found", 200),
        (register(), "not_found", 500),
    ],
)
def test_refusals_have_a_status(message: str, code: str, status: int) -> None:
    """Each refusal has its status; a subscription that does not exist counts as unregistered."""
    session = open_session()
    (reply,) = frames(refused(session, asked(receive(session, message)), code))
    assert (reply["channelID"], reply["status"]) == (CHANNEL_ID, status)


def test_answers_that_do_not_apply_have_a_status() -> None:
    """No token, an older command, another answer, or none in time."""
    session = open_session()
    for message, name, body, status in [
        (register(), "application.registered.v1", ApplicationRegisteredV1(sequence=9), 409),
        (
            unregister(),
            "application.deregistered.v1",
            ApplicationDeregisteredV1(sequence=9, applied=False),
            409,
        ),
        (unregister(), *SUBSCRIBED, 409),
        (register(), *REGISTERED, 500),
    ]:
        (reply,) = frames(answer(session, asked(receive(session, message)), name, body))
        assert reply["status"] == status
    ask = asked(receive(session, register()))
    (reply,) = frames(session.unanswered(ask.id, elapsed=1.0, now=NOW))
    assert reply["status"] == 503


@pytest.mark.parametrize("channel", ["", "x", CHANNEL_ID.upper(), CHANNEL_ID.replace("-", "")])
def test_what_is_no_channel_id_has_status_400(channel: str) -> None:
    """A channelID is a UUID in lower case, with hyphens."""
    for message in (register(channel), unregister(channel)):
        (reply,) = frames(receive(open_session(), message))
        assert (reply["channelID"], reply["status"]) == (channel, 400)


@pytest.mark.parametrize("key", ["", "x", KEY[:-1], "A" * 87, KEY + "!", "é" * 87])
def test_what_is_no_vapid_key_has_status_400(key: str) -> None:
    """A subscription with an invalid key is refused."""
    (reply,) = frames(receive(open_session(), register(key=key)))
    assert reply["status"] == 400


def test_late_and_repeated_answers_change_nothing() -> None:
    """An answer counts once, and after the end not at all."""
    session = open_session()
    ask = asked(receive(session, register()))
    assert frames(answer(session, ask, *SUBSCRIBED))
    assert answer(session, ask, *SUBSCRIBED) == []
    assert session.unanswered(ask.id, elapsed=1.0, now=NOW) == []
    ask = asked(receive(session, register()))
    session.lost(now=NOW)
    assert answer(session, ask, *SUBSCRIBED) == []


def test_a_ping_is_answered_with_a_ping() -> None:
    """Both ways to write it get ``{}``."""
    session = open_session()
    for ping in ("{}", " { } ", say("ping")):
        assert frames(receive(session, ping)) == [{}]


@pytest.mark.parametrize("ping", ["\ufeff{}", b"\xef\xbb\xbf{}", "\ufeff" + say("ping")])
def test_a_byte_order_mark_is_ignored(ping: str | bytes) -> None:
    """A message may begin with a byte order mark (RFC 8259, 8.1)."""
    assert frames(receive(open_session(), ping)) == [{}]


def test_what_needs_no_answer_gets_none() -> None:
    """A nack of a service worker's fault, and a wish for broadcasts, which we have none of."""
    session = open_session()
    assert receive(session, say("nack", version="x", code=301)) == []
    assert receive(session, say("broadcast_subscribe", broadcasts={"a/b": "c"})) == []


@pytest.mark.parametrize(
    "data",
    [
        "no JSON",
        "[]",
        "null",
        '"{}"',
        say("x"),
        say("register"),
        say("register", channelID=5),
        say("register", channelID="x" * 300),
        say("hello", uaid=5),
        say("hello", uaid="x" * 2_000),
        say("ack", updates=5),
        say("ack", updates=[{"channelID": CHANNEL_ID}]),
        say("nack"),
        say("broadcast_subscribe"),
        b"\xff",
        "[" * 3_000,
    ],
)
@pytest.mark.parametrize("opened", [True, False])
def test_what_is_no_message_closes_1008(data: str | bytes, opened: bool) -> None:
    """Invalid messages end the connection with 1008 (Mozilla's service uses 1011)."""
    session = open_session() if opened else new_session()
    assert closing(receive(session, data)) == 1008


def test_out_of_turn_closes_1008() -> None:
    """Anything before the hello, and a second hello."""
    for message in (register(), unregister(), ack(), "{}", say("nack", version="x")):
        assert closing(receive(new_session(), message)) == 1008
    assert closing(receive(open_session(), hello())) == 1008
    session = new_session()
    receive(session, hello())
    assert receive(session, hello()) == []
    assert closing(session.admitted(connected(), elapsed=1.0, now=NOW)) == 1008


def test_too_large_closes_1009_and_binary_1003() -> None:
    """As RFC 6455 has it."""
    assert closing(receive(open_session(), "x" * (MAX_FRAME + 1))) == 1009
    assert closing(open_session().received_binary(now=NOW)) == 1003


def test_no_hello_in_time_closes_1008() -> None:
    """Silence before the hello ends; while the workers are asked, there is no silence."""
    session = new_session(hello_within=10)
    assert session.due() == 10.0
    assert closing(session.tick(elapsed=10.0, now=NOW)) == 1008
    for message in (hello(), hello(None)):
        session = new_session(hello_within=10)
        receive(session, message)
        assert session.due() is None
        assert session.tick(elapsed=100.0, now=NOW) == []


@pytest.mark.parametrize(
    "code,told",
    [
        (CloseCode.REPLACED, 4774),
        (CloseCode.RETIRED, 1000),
        (CloseCode.SERVICE_RESTART, 1012),
        (CloseCode.TOO_SLOW, 1008),
        (CloseCode.GOING_AWAY, 1001),
    ],
)
def test_a_browser_is_closed_with_codes_that_it_knows(code: CloseCode, told: int) -> None:
    """4774 is the only one after which Firefox stays away, so only the replaced one gets it."""
    effects = open_session().close(code, "why", now=NOW)
    assert effects[0] == Close(told, "why")
    assert (EndPresence(CLIENT, 1) in effects) == (told not in (4774, 1000))


def test_a_flood_is_sent_away_for_good() -> None:
    """A flood of frames of any kind closes the connection with the code to stay away."""
    session = open_session(frames_burst=5, frames_per_second=1)
    codes = [closing(receive(session, "{}")) for _ in range(12)]
    assert codes[-2] == 4774
    session = open_session(frames_burst=5, frames_per_second=1)
    updates = json.loads(ack(9))["updates"] * 12
    assert closing(receive(session, say("ack", updates=updates))) == 4774
    session = open_session(frames_burst=5, frames_per_second=1)
    codes = [closing(receive(session, say("ack", updates=[]))) for _ in range(12)]
    assert 4774 in codes, "acknowledgements of nothing count, too"


def test_numbers_that_run_out_end_the_connection() -> None:
    """2^20 commands on one connection: the next connection has the next epoch to count in."""
    session = open_session()
    session._commands = 2**20 - 1
    assert closing(receive(session, register())) == 1012


def test_uaids_are_read_as_they_were_written() -> None:
    """A uaid decodes to its client and secret, and any other text is none."""
    assert read_uaid(write_uaid(CLIENT, OWN_SECRET)) == (CLIENT, OWN_SECRET)
    assert len(UAID) <= 128, "Firefox takes no longer one"


def test_every_character_of_a_uaid_counts() -> None:
    """A text that differs from a uaid in a single place names another client or another secret; one
    of another length names nothing.
    """
    for other in near_misses(UAID):
        found = read_uaid(other)
        assert (found is None) == (len(other) != len(UAID))
        assert found != (CLIENT, OWN_SECRET)


def test_secrets_do_not_show() -> None:
    """The effects of a session contain no secret when they are logged."""
    session = new_session()
    assert OWN_SECRET not in repr(receive(session, hello(None)))
    assert SECRET not in repr(receive(new_session(), hello()))
