"""The rules of one connection: hello, requests, replacement, time-outs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aoi_events.contracts.answers import RefusedV1
from aoi_events.contracts.device import MAX_FRAME, CloseCode
from aoi_events.gateway.protocol.effects import Admit, Close, Effect, EndPresence, ForwardRequest
from aoi_events.gateway.protocol.session import DeviceSession, SessionState
from tests.support.device_frames import (
    CLIENT,
    OTHER_CLIENT,
    SECRET,
    SESSION,
    ack,
    connected,
    hello,
    request,
)
from tests.support.instant import INSTANT as NOW
from tests.unit.gateway.samples import closing, frames, new_session, open_session


def receive(session: DeviceSession, data: str, elapsed: float = 1.0) -> list[Effect]:
    """The effects of a frame."""
    return session.received(data, elapsed=elapsed, now=NOW)


def test_hello_is_admitted_by_the_workers_and_welcomed() -> None:
    """A hello asks for admission; the answer opens the session and becomes the welcome."""
    session = new_session(ping_every=12.5)
    assert receive(session, hello()) == [Admit(CLIENT, SECRET)]
    answer = connected(4, closed=[{"type": "sms", "reason": "recycled"}], lost=3)
    (welcome,) = frames(session.admitted(answer, elapsed=1.0, now=NOW))
    assert welcome == {
        "type": "welcome",
        "client": CLIENT,
        "session": SESSION,
        "epoch": 4,
        "sequence": 7,
        "ping_every": 12.5,
        "closed": [{"type": "sms", "reason": "recycled"}],
        "lost": 3,
    }
    assert (session.state, session.epoch) == (SessionState.OPEN, 4)


def test_secrets_do_not_show_in_actions() -> None:
    """An effect can be logged: neither secret nor body is in its representation."""
    assert SECRET not in repr(Admit(CLIENT, SECRET))
    assert "hidden" not in repr(ForwardRequest(1, "client.register", b"hidden"))


@pytest.mark.parametrize(
    "code,close_code",
    [
        ("unauthenticated", 4401),
        ("client_retired", 4410),
        ("quota_exceeded", 4429),
        ("internal", 1013),
        ("not_allowed", 1013),
        (None, 1013),
    ],
)
def test_a_refused_hello_closes_with_a_code_that_says_what_to_do(
    code: str | None, close_code: int
) -> None:
    """Each kind of refusal has its close code, and a goodbye precedes the close."""
    session = new_session()
    receive(session, hello())
    effects = session.hello_refused(code, now=NOW)
    assert closing(effects) == close_code
    assert frames(effects)[0]["code"] == close_code
    assert session.state is SessionState.CLOSED
    assert not [effect for effect in effects if isinstance(effect, EndPresence)]


def test_an_unregistered_device_may_register_and_nothing_else() -> None:
    """Before the hello only client.register passes, without a client, and may be repeated."""
    session = new_session()
    (ask,) = receive(session, request("client.register", device="d", identity="tel:1"))
    assert isinstance(ask, ForwardRequest)
    assert ask.client is None
    assert json.loads(ask.body) == {"device": "d", "identity": "tel:1"}
    effects = session.answered(1, "client.registered.v1", b'{"client":"x"}', elapsed=2.0, now=NOW)
    assert frames(effects)[0]["name"] == "client.registered.v1"
    assert closing(receive(session, request("channel.activate"))) == 4400


def test_registering_does_not_hold_a_connection_open_for_ever() -> None:
    """After some registrations without a hello, further ones are refused."""
    session = new_session()
    refused = []
    for number in range(12):
        for effect in receive(session, request("client.register", number)):
            if isinstance(effect, ForwardRequest):
                session.answered(number, "refused.v1", b"{}", elapsed=1.0, now=NOW)
            else:
                refused.append(number)
    assert refused == [8, 9, 10, 11]


def test_no_hello_in_time_closes_4408() -> None:
    """Silence before the hello ends; the answer to a registration starts the time anew."""
    session = new_session(hello_within=10)
    assert session.due() == 10.0
    assert session.tick(elapsed=9.9, now=NOW) == []
    receive(session, request("client.register"), 9.9)
    assert session.tick(elapsed=15.0, now=NOW) == []
    session.answered(1, "client.registered.v1", b"{}", elapsed=16.0, now=NOW)
    assert session.tick(elapsed=25.9, now=NOW) == []
    assert closing(session.tick(elapsed=26.0, now=NOW)) == 4408


def test_requests_go_out_under_the_proved_client() -> None:
    """A request names the session's client, filled in when absent, with the session's epoch."""
    session = open_session()
    bodies: list[dict[str, Any]] = [{}, {"client": CLIENT}]
    for body in bodies:
        (ask,) = receive(session, request("application.register", application="mail", **body))
        assert isinstance(ask, ForwardRequest)
        assert json.loads(ask.body) == {"application": "mail", "client": CLIENT}
        assert (ask.name, ask.client) == ("application.register", CLIENT)


def test_registering_again_is_passed_on_as_it_is() -> None:
    """client.register has no client of its own, even in an open session."""
    session = open_session()
    (ask,) = receive(session, request("client.register", device="d"))
    assert isinstance(ask, ForwardRequest)
    assert json.loads(ask.body) == {"device": "d"}
    assert ask.client == CLIENT


@pytest.mark.parametrize(
    "name,body,code,field",
    [
        ("notification.send", {}, "unknown_request", "name"),
        ("client.connected", {}, "unknown_request", "name"),
        ("no.such", {}, "unknown_request", "name"),
        ("channel.activate", {"client": OTHER_CLIENT}, "not_allowed", "body.client"),
        ("channel.activate", {"client": None}, "not_allowed", "body.client"),
        ("channel.activate", {"secret": SECRET}, "invalid", "body.secret"),
        ("client.register", {"secret": SECRET}, "invalid", "body.secret"),
        ("channel.activate", {"a": float("inf")}, "malformed", "body"),
        ("channel.activate", {"a": [{"b": float("nan")}]}, "malformed", "body"),
    ],
)
def test_a_wrong_request_is_refused_and_harms_nothing_else(
    name: str, body: dict[str, Any], code: str, field: str
) -> None:
    """Each refusal has the request's id, a stable code and the field; the session goes on."""
    session = open_session()
    (answer,) = frames(receive(session, request(name, 41, **body)))
    assert (answer["type"], answer["id"], answer["name"]) == ("answer", 41, "refused.v1")
    refused = RefusedV1.model_validate(answer["body"])
    assert (refused.code, refused.field) == (code, field)
    assert SECRET not in json.dumps(answer)
    assert session.state is SessionState.OPEN


@pytest.mark.parametrize("depth,refused", [(16, False), (17, True), (100, True)])
def test_nesting_is_bounded(depth: int, refused: bool) -> None:
    """A body nested deeper than 16 levels is refused as malformed, others pass."""
    session = open_session()
    inner = "[" * (depth - 1) + "]" * (depth - 1)
    frame = f'{{"type":"request","id":1,"name":"channel.activate","body":{{"a":{inner}}}}}'
    (effect,) = receive(session, frame)
    assert isinstance(effect, ForwardRequest) is not refused
    if refused:
        assert frames([effect])[0]["body"]["code"] == "malformed"


def test_requests_in_flight_are_bounded() -> None:
    """One request too many is refused at once, and an answer makes room again."""
    session = open_session(requests_in_flight=2)
    first = receive(session, request("channel.activate", 1))
    second = receive(session, request("channel.activate", 2))
    assert all(isinstance(effect, ForwardRequest) for effect in first + second)
    (answer,) = frames(receive(session, request("channel.activate", 3)))
    assert (answer["id"], answer["body"]["code"]) == (3, "quota_exceeded")
    session.unanswered(1, elapsed=2.0, now=NOW)
    assert isinstance(receive(session, request("channel.activate", 4))[0], ForwardRequest)


def test_answers_carry_contract_and_body() -> None:
    """An answer frame repeats the request's id, the contract's name and the body."""
    session = open_session()
    receive(session, request("channel.activate", 9))
    body = b'{"version":1,"sequence":3,"selected":[]}'
    (answer,) = frames(session.answered(9, "channels.activated.v1", body, elapsed=1.0, now=NOW))
    assert answer == {
        "type": "answer",
        "id": 9,
        "name": "channels.activated.v1",
        "body": {"version": 1, "sequence": 3, "selected": []},
    }


@pytest.mark.parametrize(
    "name,body,code",
    [
        (None, b"{}", "internal"),
        ("x.v1", b"not json", "internal"),
        ("x.v1", b"[]", "internal"),
        ("x.v1", b'{"a":"' + b"x" * MAX_FRAME + b'"}', "too_large"),
    ],
)
def test_an_improper_answer_becomes_a_refusal(name: str | None, body: bytes, code: str) -> None:
    """An unreadable or too large answer becomes a refusal."""
    session = open_session()
    receive(session, request("channel.activate", 9))
    (answer,) = frames(session.answered(9, name, body, elapsed=1.0, now=NOW))
    assert (answer["id"], answer["body"]["code"]) == (9, code)


def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    """An answer counts once, and only for a request of this connection."""
    session = open_session()
    body = b"{}"
    assert session.answered(9, "x.v1", body, elapsed=1.0, now=NOW) == []
    receive(session, request("channel.activate", 9))
    assert len(session.answered(9, "x.v1", body, elapsed=1.0, now=NOW)) == 1
    assert session.answered(9, "x.v1", body, elapsed=2.0, now=NOW) == []
    assert session.unanswered(9, elapsed=2.0, now=NOW) == []


def test_no_answer_in_time_is_said() -> None:
    """The device gets *unavailable*, and may repeat the request."""
    session = open_session()
    receive(session, request("channel.activate", 9))
    (answer,) = frames(session.unanswered(9, elapsed=11.0, now=NOW))
    assert answer["body"]["code"] == "unavailable"


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "null",
        "[]",
        '"hello"',
        "{}",
        '{"type":"welcome"}',
        '{"type":"hello"}',
        '{"type":"hello","client":"cli_x","secret":"y"}',
        '{"type":"hello","client":7,"secret":[]}',
        '{"type":"ack","delivery":"x"}',
        '{"type":"ack","delivery":"dlv_' + "a" * 26 + '","code":"maybe"}',
        '{"type":"ack","delivery":"dlv_' + "a" * 26 + '","attempt":"1"}',
        '{"type":"request","id":-1,"name":"x","body":{}}',
        '{"type":"request","id":1,"name":"x","body":[]}',
        '{"type":"request","id":1.5,"name":"x","body":{}}',
        '{"type":"request","id":1,"name":"x","body":{},"more":1}',
        "[" * 5_000,
        '{"a":' * 1_000 + "1" + "}" * 1_000,
        '{"type":"\\ud800"}',
    ],
)
@pytest.mark.parametrize("opened", [False, True])
def test_a_bad_frame_closes_4400_and_says_why(frame: str, opened: bool) -> None:
    """An invalid frame ends the session with a goodbye, a stable code and a bounded message."""
    session = open_session() if opened else new_session()
    effects = receive(session, frame)
    assert closing(effects) == 4400
    (goodbye,) = frames(effects)
    assert goodbye["code"] == 4400
    assert 0 < len(goodbye["message"]) <= 300
    assert session.state is SessionState.CLOSED


def test_too_large_a_frame_closes_1009() -> None:
    """A frame above the bound is not even parsed, counted in octets."""
    assert closing(receive(open_session(), "x" * (MAX_FRAME + 1))) == 1009
    assert closing(receive(open_session(), "é" * (MAX_FRAME // 2 + 1))) == 1009


def test_binary_frames_close_1003() -> None:
    """The protocol is text."""
    assert closing(open_session().received_binary(now=NOW)) == 1003


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_ignored(mark: str) -> None:
    """A frame may begin with a byte order mark (RFC 8259, 8.1)."""
    assert closing(new_session().received(mark + hello(), elapsed=1.0, now=NOW)) is None


def test_one_hello_only() -> None:
    """A second hello, while admitted or open, ends the session; the secret is not repeated."""
    admitting = new_session()
    receive(admitting, hello())
    for session in (admitting, open_session()):
        effects = receive(session, hello())
        assert closing(effects) == 4400
        assert SECRET not in repr(effects)


@pytest.mark.parametrize("frame", [request("channel.activate"), ack()])
def test_the_device_waits_for_its_welcome(frame: str) -> None:
    """Requests and acknowledgements before the welcome end the session."""
    admitting = new_session()
    receive(admitting, hello())
    for session in (new_session(), admitting):
        assert closing(receive(session, frame)) == 4400


def test_a_flood_is_refused_and_then_ended() -> None:
    """Above the burst requests are refused, at twice the burst the connection ends; time heals."""
    session = open_session(frames_burst=10, frames_per_second=1, requests_in_flight=1000)
    results = [receive(session, request("channel.activate", n), elapsed=0.0) for n in range(30)]
    asked = [
        n for n, effects in enumerate(results) if effects and isinstance(effects[0], ForwardRequest)
    ]
    assert asked == list(range(9))  # the hello was the first
    assert closing(results[19]) == 4429
    assert results[20:] == [[]] * 10

    session = open_session(frames_burst=10, frames_per_second=1, requests_in_flight=1000)
    results = [receive(session, request("channel.activate", n), float(n)) for n in range(100)]
    assert all(isinstance(effects[0], ForwardRequest) for effects in results)


@pytest.mark.parametrize("name", ["application.register", "application.deregister"])
def test_500_apps_at_once_are_no_flood(name: str) -> None:
    """A device registers all of its apps anew after its user identity changed."""
    session = open_session()
    for number in range(500):
        (ask,) = receive(session, request(name, number))
        assert isinstance(ask, ForwardRequest)
        session.unanswered(ask.id, elapsed=1.0, now=NOW)
    session = open_session(commands_burst=5, frames_burst=10, frames_per_second=1)
    codes = [closing(receive(session, request(name, number), 0.0)) for number in range(30)]
    assert codes.index(4429) == 5 + 2 * 10 - 1, "the hello was a frame, too"


def test_control_frames_and_unasked_acknowledgements_count_too() -> None:
    """Neither pings nor acknowledgements of nothing are a way around the limit."""
    session = open_session(frames_burst=5, frames_per_second=1)
    codes = [closing(session.received_control(elapsed=0.0, now=NOW)) for _ in range(10)]
    assert codes[-1] == 4429
    session = open_session(frames_burst=5, frames_per_second=1)
    codes = [closing(receive(session, ack(n), 0.0)) for n in range(10)]
    assert codes[-1] == 4429


@pytest.mark.parametrize("code,leaves", [(4409, False), (4410, False), (1012, True)])
def test_ending_a_session_gives_up_its_presence_once(code: int, leaves: bool) -> None:
    """The end of a session ends its presence once, unless another session replaced it."""
    session = open_session()
    effects = session.close(CloseCode(code), "why", now=NOW)
    assert closing(effects) == code
    assert (EndPresence(CLIENT, 1) in effects) is leaves
    assert session.close(CloseCode(code), "why", now=NOW) == []
    assert session.lost(now=NOW) == []
    assert receive(session, hello()) == []


def test_a_long_reason_is_cut_between_characters() -> None:
    """The close frame's reason has at most 123 octets of valid UTF-8."""
    effects = open_session().close(CloseCode.BAD_FRAME, "ö" * 1_000, now=NOW)
    (close,) = [effect for effect in effects if isinstance(effect, Close)]
    assert 120 < len(close.reason.encode()) <= 123
    assert set(close.reason) == {"ö"}


def test_an_epoch_that_comes_too_late_is_given_up() -> None:
    """The device left while it was admitted: the presence that the answer opened ends."""
    session = new_session()
    receive(session, hello())
    assert session.lost(now=NOW) == []
    assert session.admitted(connected(3), elapsed=2.0, now=NOW) == [EndPresence(CLIENT, 3)]
    assert session.hello_refused("unauthenticated", now=NOW) == []


@pytest.mark.parametrize(
    "code,close_code",
    [("conflict", 4409), ("client_retired", 4410), ("unauthenticated", 4410), ("invalid", 1012)],
)
def test_a_displaced_session_says_whether_to_come_back(code: str, close_code: int) -> None:
    """Only a conflict means that another connection took over."""
    assert closing(open_session().announcement_refused(code, now=NOW)) == close_code
