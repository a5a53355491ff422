"""The handshake of browsers: without a uaid, with a known uaid, and the first subscription."""

from __future__ import annotations

import pytest

from aoi_events.contracts.answers import ChannelsActivatedV1
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.domain.clients.client import client_id_of, hash_secret
from aoi_events.gateway.protocol.effects import (
    Admit,
    EndPresence,
    ForwardRequest,
    ReportOutcome,
)
from aoi_events.gateway.protocol.session import SessionState
from aoi_events.gateway.protocol.webpush.uaids import write_uaid
from tests.support.browser_frames import (
    CHANNEL_ID,
    OTHER_CHANNEL_ID,
    OWN_SECRET,
    UAID,
    ack,
    hello,
    register,
    say,
    unregister,
)
from tests.support.device_frames import CLIENT, SECRET, SESSION
from tests.support.instant import INSTANT as NOW
from tests.unit.gateway.browsers import (
    ACTIVATED,
    REGISTERED,
    SUBSCRIBED,
    admit,
    answer,
    asked,
    new_session,
    receive,
    refused,
    subscribing,
    unregistered,
)
from tests.unit.gateway.samples import closing, frames


def test_a_hello_alone_makes_no_client() -> None:
    """Firefox shows its uaid only while a page is subscribed; others would leave one each time."""
    session = new_session()
    (reply,) = frames(receive(session, hello(None)))
    assert reply == {
        "messageType": "hello",
        "uaid": write_uaid(client_id_of(hash_secret(OWN_SECRET)), OWN_SECRET),
        "status": 200,
        "use_webpush": True,
        "broadcasts": {},
    }
    assert frames(receive(session, "{}")) == [{}]
    (gone,) = receive(session, unregister())
    assert frames([gone])[0]["status"] == 200, "what is gone has been unregistered"
    assert receive(session, ack()) == [], "it speaks of an earlier life"
    assert receive(session, say("nack", version="x", code=301)) == []
    assert closing(receive(session, hello(None))) == 1008
    session = unregistered()
    assert session.lost(now=NOW) == []


def test_an_unregistered_browser_that_subscribes_becomes_a_client_with_one_channel() -> None:
    """Registered, activated, connected, in this order, and only then subscribed."""
    session = unregistered()
    registering = asked(receive(session, register()))
    request = parse_request(registering.name, registering.body)
    assert isinstance(request, RegisterClientV1)
    assert request.secret_hash == hash_secret(OWN_SECRET)
    assert request.identity == f"webpush:{SESSION}"
    assert receive(session, register(OTHER_CHANNEL_ID)) == [], "it waits for the same"
    activating = asked(answer(session, registering, *REGISTERED))
    assert activating.client == CLIENT
    offer = parse_request(activating.name, activating.body)
    assert isinstance(offer, ActivateChannelsV1)
    assert [each.type for each in offer.offers] == ["websocket"]
    assert answer(session, activating, *ACTIVATED) == [Admit(CLIENT, OWN_SECRET, "")]
    assert frames(receive(session, "{}")) == [{}]
    asks = [each for each in admit(session) if isinstance(each, ForwardRequest)]
    requests = [parse_request(each.name, each.body) for each in asks]
    assert [each.instance for each in requests if isinstance(each, RegisterApplicationV1)] == [
        CHANNEL_ID,
        OTHER_CHANNEL_ID,
    ]
    assert session.state is SessionState.OPEN
    assert [reply["status"] for reply in frames(answer(session, asks[0], *SUBSCRIBED))] == [200]
    assert session.lost(now=NOW) == [EndPresence(CLIENT, 1)]


def test_a_known_browser_keeps_its_uaid() -> None:
    """A known uaid admits its client, is returned unchanged, and registers nothing."""
    session = new_session()
    assert receive(session, hello()) == [Admit(CLIENT, SECRET, "")]
    assert [reply["uaid"] for reply in frames(admit(session))] == [UAID]


@pytest.mark.parametrize(
    "uaid", ["", "x", "a" * 63, "a" * 65, "=" * 64, "é" * 64, "01234567-89ab-cdef", "a" * 1_000]
)
def test_a_uaid_that_is_none_of_ours_is_the_same_as_none(uaid: str) -> None:
    """A uaid of another push service counts as none."""
    (reply,) = frames(receive(new_session(), hello(uaid)))
    assert reply["uaid"] not in ("", uaid)


@pytest.mark.parametrize("code", ["unauthenticated", "client_retired"])
def test_a_refused_uaid_begins_anew(code: str) -> None:
    """A wrong secret, or an ended client, gets another uaid, and its pages subscribe anew."""
    session = new_session()
    receive(session, hello())
    (reply,) = frames(session.hello_refused(code, now=NOW))
    assert reply["uaid"] != UAID
    assert asked(receive(session, register())).name == "client.register"


@pytest.mark.parametrize("code", ["quota_exceeded", "internal", None])
def test_who_cannot_be_admitted_now_comes_again_later(code: str | None) -> None:
    """Anything but a wrong uaid closes 1013, after which Firefox backs off and tries again."""
    session = new_session()
    receive(session, hello())
    assert closing(session.hello_refused(code, now=NOW)) == 1013


@pytest.mark.parametrize("fails", ["registering", "activating", "selecting", "admitting"])
def test_every_step_of_becoming_a_client_may_fail(fails: str) -> None:
    """A failed registration refuses the subscriptions, and the next one may succeed."""
    session = unregistered()
    ask = asked(receive(session, register()))
    receive(session, register(OTHER_CHANNEL_ID))
    if fails != "registering":
        ask = asked(answer(session, ask, *REGISTERED))
    if fails == "admitting":
        answer(session, ask, *ACTIVATED)
        told = session.hello_refused(None, now=NOW)
    elif fails == "selecting":
        none = ChannelsActivatedV1(sequence=1, selected=())
        told = answer(session, ask, "channels.activated.v1", none)
    else:
        told = session.unanswered(ask.id, elapsed=1.0, now=NOW)
    status = 500 if fails == "selecting" else 503
    assert [(each["channelID"], each["status"]) for each in frames(told)] == [
        (CHANNEL_ID, status),
        (OTHER_CHANNEL_ID, status),
    ]
    assert closing(told) is None
    assert answer(session, subscribing(session), *ACTIVATED) == [Admit(CLIENT, OWN_SECRET, "")]
    assert [each.name for each in admit(session) if isinstance(each, ForwardRequest)] == [
        "application.register"
    ]


@pytest.mark.parametrize(
    "code,status", [("identity_unproved", 403), ("quota_exceeded", 429), ("new_code", 500)]
)
def test_why_a_browser_is_no_client_is_told_to_its_page(code: str, status: int) -> None:
    """Where user identities must be proved, subscriptions of browsers are refused."""
    session = unregistered()
    (reply,) = frames(refused(session, asked(receive(session, register())), code))
    assert reply["status"] == status
    session = unregistered()
    answer(session, subscribing(session), *ACTIVATED)
    (reply,) = frames(session.hello_refused(code, now=NOW))
    assert reply["status"] == status


def test_what_an_unregistered_browser_asks_at_once_waits() -> None:
    """Commands wait for the registration, then for their turn; none is refused."""
    session = unregistered(requests_in_flight=3)
    registering = asked(receive(session, register()))
    for message in [unregister(), register(OTHER_CHANNEL_ID), register(), unregister()]:
        assert receive(session, message) == []
    answer(session, asked(answer(session, registering, *REGISTERED)), *ACTIVATED)
    asks = [each for each in admit(session) if isinstance(each, ForwardRequest)]
    assert [each.name.partition(".")[2] for each in asks] == ["register", "deregister", "register"]
    _, fourth = answer(session, asks[0], *SUBSCRIBED)
    assert asked([fourth]).name == "application.register"


def test_hello_and_register_at_once_of_a_known_browser() -> None:
    """A client that does not wait for the answer to its hello gets every answer in order."""
    session = new_session()
    receive(session, hello())
    for message in (register(), "{}", unregister(OTHER_CHANNEL_ID), ack()):
        assert receive(session, message) == []
    effects = admit(session)
    assert [each.get("messageType") for each in frames(effects)] == ["hello", None]
    names = [each.name for each in effects if isinstance(each, ForwardRequest)]
    assert names == ["application.register", "application.deregister"]
    assert [each.outcome.kind for each in effects if isinstance(each, ReportOutcome)] == [
        OutcomeKind.ACKNOWLEDGED
    ]


def test_hello_and_register_at_once_of_a_browser_that_begins_anew() -> None:
    """After a refused uaid the subscription registers a new client."""
    session = new_session()
    receive(session, hello())
    assert receive(session, register()) == []
    reply, registering = session.hello_refused("unauthenticated", now=NOW)
    assert frames([reply])[0]["uaid"] != UAID
    assert asked([registering]).name == "client.register"
