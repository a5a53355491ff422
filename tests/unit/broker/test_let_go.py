"""Which messages are let go, and how many."""

from __future__ import annotations

from dataclasses import replace

from aoi_events.broker.let_go import LetGo
from aoi_events.ports.broker import Outbound

ONE, OTHER = Outbound("", "one", b"12345"), Outbound("topics", "one", b"")


def test_a_destination_is_silent_until_its_last_message_is_answered() -> None:
    """The first message let go makes it silent, the last one answered ends that; other exchanges
    are other destinations.
    """
    let_go = LetGo()
    assert not let_go.silent(ONE)
    assert let_go.add(ONE)
    assert not let_go.add(ONE)
    assert let_go.silent(ONE)
    assert not let_go.silent(OTHER)
    assert not let_go.remove(ONE)
    assert let_go.silent(ONE)
    assert let_go.remove(ONE)
    assert not let_go.silent(ONE)
    assert len(let_go) == 0


def test_all_routing_keys_of_an_exchange_are_one_destination() -> None:
    """One silent queue may be bound to all of them."""
    let_go = LetGo(of_one_destination=1)
    let_go.add(OTHER)
    another = replace(OTHER, routing_key="another")
    assert let_go.silent(another)
    assert let_go.refuses(another)
    assert not let_go.silent(replace(ONE, routing_key="another"))


def test_one_destination_has_a_bound() -> None:
    """Past it nothing more is sent there, and others are not concerned."""
    let_go = LetGo(of_one_destination=2)
    let_go.add(ONE)
    assert not let_go.refuses(ONE)
    let_go.add(ONE)
    assert let_go.refuses(ONE)
    assert not let_go.refuses(OTHER)
    assert not let_go.full


def test_messages_and_octets_have_a_bound() -> None:
    """Past either no silent destination is sent anything, and nothing more may be let go; what is
    published in place of a message counts, too.
    """
    let_go = LetGo(messages=2)
    let_go.add(ONE)
    let_go.add(OTHER)
    assert let_go.full
    assert let_go.refuses(ONE)
    assert not let_go.refuses(Outbound("", "new", b""))
    let_go.remove(OTHER)
    assert not let_go.refuses(ONE)
    let_go, large = LetGo(octets=10), replace(OTHER, if_returned=replace(ONE, if_returned=ONE))
    let_go.add(large)
    assert let_go.full
    assert let_go.refuses(OTHER)
    let_go.add(OTHER)
    let_go.remove(large)
    assert not let_go.refuses(OTHER)
