"""What channel workers note of their submissions."""

from __future__ import annotations

from dataclasses import replace

from aoi_events.ports.store import Store
from tests.support.rows import a_provider_message, a_submission, delivery_id, later


async def test_a_submission_is_noted_once(store: Store) -> None:
    """The same (delivery, step, attempt) is new once: a duplicate must not be submitted."""
    first, other_attempt, other_step = (
        a_submission(1),
        a_submission(1, attempt=2),
        a_submission(1, step=1),
    )
    async with store.transaction() as transaction:
        assert set(await transaction.add_submissions([first, other_attempt])) == {
            (delivery_id(1), 0, 1),
            (delivery_id(1), 0, 2),
        }
        added = await transaction.add_submissions([first, other_step, other_step])
        assert set(added) == {(delivery_id(1), 1, 1)}
        assert not await transaction.add_submissions([])
        keys = {(delivery_id(1), 1, 1), (delivery_id(1), 0, 2), (delivery_id(1), 1, 2)}
        assert set(await transaction.submitted(keys)) == keys - {(delivery_id(1), 1, 2)}
        assert not await transaction.submitted([])


async def test_receipts_find_what_they_are_about(store: Store) -> None:
    """By provider and message ID; what is noted again keeps its first name."""
    one, two = a_provider_message(1, message="m\\1\0"), a_provider_message(2)
    async with store.transaction() as transaction:
        await transaction.note_provider_messages([one, two])
        await transaction.note_provider_messages([replace(one, message="other")])
        await transaction.note_provider_messages([])
        found = await transaction.provider_messages("smsc", ["m\\1\0", "m9", "other"])
        assert found == {"m\\1\0": one}
        assert await transaction.provider_messages("other", ["m\\1\0"]) == {}
        assert await transaction.provider_messages("smsc", []) == {}


async def test_a_reused_message_id_means_the_newest(store: Store) -> None:
    """Providers count round; a receipt belongs to the latest message of that name."""
    old = a_provider_message(2, message="7")
    new = a_provider_message(1, message="7", at=later(60))
    async with store.transaction() as transaction:
        await transaction.note_provider_messages([new, old])
        assert await transaction.provider_messages("smsc", ["7"]) == {"7": new}


async def test_messages_are_found_without_case_and_padding(store: Store) -> None:
    """All that have the folded ID at that provider, with what to compare of their address."""
    one = a_provider_message(1, message="eu 00B8BE12", address="0000001")
    two = a_provider_message(2, message="eu b8be12")
    other = a_provider_message(3, message="world 00B8BE12")
    zero = a_provider_message(4, message="eu 0000")
    async with store.transaction() as transaction:
        await transaction.note_provider_messages([one, two, other, zero])
        found = await transaction.spelled("smsc", ["eu b8be12", "eu 0", "eu 7"])
        assert list(found) == [one, two, zero]
        assert list(await transaction.spelled("other", ["eu b8be12"])) == []
        assert list(await transaction.spelled("smsc", [])) == []


async def test_the_parts_that_were_received_are_counted(store: Store) -> None:
    """Of each submission apart, each part once, however often its receipt comes."""
    parts = [a_provider_message(1, part, 3) for part in (1, 2, 3)]
    alone, again = a_provider_message(2), a_provider_message(1, 1, 3, attempt=2)
    async with store.transaction() as transaction:
        await transaction.note_provider_messages([*parts, alone, again])
        await transaction.note_received([])
        await transaction.note_received([parts[2], parts[0], parts[2], alone])
        await transaction.note_received([parts[0], a_provider_message(9)])
        keys = [parts[0].submission, alone.submission, again.submission, (delivery_id(9), 0, 1)]
        assert await transaction.parts_received(keys) == {
            parts[0].submission: 2,
            alone.submission: 1,
        }
        found = await transaction.provider_messages("smsc", ["m1.2", "m1.3"])
        assert [found[name].received for name in ("m1.2", "m1.3")] == [False, True]
        assert await transaction.parts_received([]) == {}
