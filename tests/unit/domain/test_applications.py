"""App instances: repeats, new generations, and numbers of commands that never go back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from aoi_events.domain.clients.applications import (
    Application,
    ApplicationDecision,
    deregister,
    forgettable,
    never_registered,
    register,
    revoke,
    token_owner,
)
from aoi_events.domain.clients.client import Client
from tests.support.strategies import EPOCH


def registered(
    known: Application | None,
    sequence: int,
    key_id: str = "k1",
    sender_key: str | None = None,
    now: datetime = EPOCH,
) -> ApplicationDecision:
    """Register the instance under that sequence number."""
    return register(
        known or unknown(),
        sequence=sequence,
        key_id=key_id,
        now=now,
        sender_key=sender_key,
    )


FIRST = int(EPOCH.timestamp())
"""The generation of what is registered first then."""


def test_a_repeat_changes_nothing_and_is_applied() -> None:
    """8.2.3: apps register when they start; the token stays the same."""
    first = registered(None, 3)
    again = registered(first.application, 3)
    assert (again.applied, again.changed) == (True, False)
    assert again.application == first.application
    later = registered(first.application, 4, key_id="k2")
    assert later.application.claims == first.application.claims
    assert later.application.key_id == "k1", "the token stays under the key that issued it"


def test_a_token_is_valid_only_as_the_present_one() -> None:
    """By its generation or its fingerprint; not once it was revoked, replaced, or its client
    retired.
    """
    app = replace(registered(None, 1).application, fingerprint="fp_new")
    client = Client(app.client, "hash", "device", "identity", EPOCH, EPOCH)
    assert token_owner(client, app, generation=app.generation) is app
    assert token_owner(client, app, fingerprint="fp_new") is app
    assert token_owner(client, app, generation=app.generation + 1) is None
    assert token_owner(client, app, generation=app.generation - 1) is None
    assert token_owner(client, app, fingerprint="fp_old") is None
    assert token_owner(client, revoke(app, "deregistered"), fingerprint="fp_new") is None
    assert token_owner(replace(client, retired_at=EPOCH), app, fingerprint="fp_new") is None
    assert token_owner(None, app, fingerprint="fp_new") is None
    assert token_owner(client, None, generation=app.generation) is None


def test_a_revoked_token_stays_dead() -> None:
    """Registering again gives a new generation, under the key that issues now."""
    first = registered(None, 1).application
    gone = deregister(first, sequence=2).application
    assert not gone.registered
    again = registered(gone, 3, key_id="k2").application
    assert again.generation == first.generation + 1
    assert again.key_id == "k2"
    assert again.revoked_reason is None


def test_the_same_number_with_another_command_changes_nothing() -> None:
    """An equal number with another body is answered with what is stored."""
    first = registered(None, 5).application
    assert not deregister(first, sequence=5).applied
    gone = deregister(first, sequence=6).application
    assert not registered(gone, 6).applied
    assert deregister(gone, sequence=6) == ApplicationDecision(gone, applied=True, changed=False)


def test_another_sender_key_is_another_subscription() -> None:
    """Bound to another key, or to none any more, the old token ends and says so until the next
    command; the same key changes nothing.
    """
    first = replace(registered(None, 1, sender_key="B1").application, fingerprint="fp_one")
    again = registered(first, 2, sender_key="B1").application
    assert (again.generation, again.replaced) == (first.generation, None)
    other = registered(again, 3, key_id="k2", sender_key="B2")
    assert (other.application.generation, other.application.replaced) == (FIRST + 1, "fp_one")
    assert other.application.key_id == "k2"
    bound = replace(other.application, fingerprint="fp_two")
    repeat = registered(bound, 3, sender_key="B2")
    assert (repeat.applied, repeat.application) == (True, bound)
    assert not registered(bound, 3, sender_key="B3").applied
    assert not registered(bound, 3).applied
    free = registered(bound, 4).application
    assert (free.generation, free.sender_key, free.replaced) == (FIRST + 2, None, "fp_two")
    assert registered(free, 5).application.replaced is None
    assert deregister(free, sequence=5).application.replaced is None


def test_a_token_that_the_device_disowned_is_not_revived_by_a_repeat() -> None:
    """'No such application' revokes; the old registration coming again does not undo that."""
    first = registered(None, 5).application
    gone = revoke(first, "no_such_application")
    assert revoke(gone, "deregistered") == gone
    late = registered(gone, 5)
    assert not late.applied
    assert not late.application.registered
    assert registered(gone, 6).application.generation == FIRST + 1


commands = st.lists(
    st.tuples(
        st.sampled_from(["register", "deregister", "revoke"]),
        st.integers(1, 6),
        st.sampled_from([None, "B1", "B2"]),
    ),
    max_size=15,
)


@given(commands)
def test_an_older_sequence_never_wins(history: list[tuple[str, int, str | None]]) -> None:
    """In any order, with repeats: the number never goes back, only applied commands change
    anything, and generations only rise, whenever the token is good for another sender.
    """
    known: Application | None = None
    for command, sequence, sender_key in history:
        before = known
        if command == "revoke":
            known = revoke(known, "no_such_application") if known else None
            continue
        if command == "deregister" and known is None:
            known = before = unknown()
        if command == "register":
            decision = registered(known, sequence, sender_key=sender_key)
        else:
            assert known is not None
            decision = deregister(known, sequence=sequence)
        known = decision.application
        assert decision.changed == (known != before)
        if not decision.applied:
            assert not decision.changed
        if before is not None:
            assert known.sequence >= before.sequence
            fresh = FIRST if before.generation == 0 else before.generation + 1
            assert known.generation in (before.generation, fresh)
            if sequence < before.sequence:
                assert not decision.applied
            if known.registered and not before.registered:
                assert known.generation > before.generation
            if known.sender_key != before.sender_key:
                assert known.generation > before.generation


def unknown() -> Application:
    """The app instance that the first command about it starts from."""
    return never_registered(
        client="cli_" + "a" * 26,
        application="org.example.shop",
        instance="default",
        key_id="k1",
        now=EPOCH,
    )


def test_a_deregistration_that_comes_first_holds() -> None:
    """The number of a command counts, also for an instance that was never seen; a newer
    registration then gets a first token.
    """
    gone = deregister(unknown(), sequence=5)
    assert (gone.applied, gone.application.sequence, gone.application.generation) == (True, 5, 0)
    assert not registered(gone.application, 4).applied
    assert not registered(gone.application, 5).applied
    assert deregister(gone.application, sequence=5).changed is False
    assert registered(gone.application, 6).application.generation == FIRST


def test_what_is_forgotten_never_gives_an_old_token_again() -> None:
    """The newest that ended stay, and so does whatever had a token just now; a row made after one
    was forgotten has a generation of its own, whether it begins with a deregistration or not.
    """
    hour = EPOCH + timedelta(hours=1)
    old = [
        deregister(replace(registered(None, n).application, instance=f"i{n}"), sequence=n + 1)
        for n in range(1, 5)
    ]
    known = [decision.application for decision in old] + [registered(None, 9).application]
    assert [app.sequence for app in forgettable(known, keep=2, now=hour)] == [3, 2]
    assert forgettable(known, keep=0, now=EPOCH) == []
    assert len(forgettable([unknown()], keep=0, now=EPOCH)) == 1
    again = registered(None, 20, now=hour).application
    late = registered(deregister(unknown(), sequence=20).application, 21, now=hour).application
    highest = max(app.generation for app in known)
    assert min(again.generation, late.generation) > highest


def test_the_newest_command_decides_whatever_the_order() -> None:
    """Commands that overtake each other end in the state of the highest number."""
    for order in permutations([(2, "register"), (3, "deregister"), (4, "register")]):
        known = registered(None, 1).application
        for sequence, command in order:
            decide = registered if command == "register" else None
            known = (
                decide(known, sequence).application
                if decide
                else deregister(known, sequence=sequence).application
            )
        assert (known.sequence, known.registered) == (4, True)
