"""What channel workers note of their submissions."""

from __future__ import annotations

from dataclasses import replace

from aoi_events.ports.store import Store
from tests.conformance.store.rows import a_submission, delivery_id, later


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


async def test_receipts_find_their_submission(store: Store) -> None:
    """A submission is found by provider and message ID once the provider has named it."""
    one, two = a_submission(1), a_submission(2)
    named = replace(one, provider_message="m\\1\0")
    async with store.transaction() as transaction:
        await transaction.add_submissions([one, two])
        await transaction.note_provider_messages([named, a_submission(9, provider_message="m9")])
        await transaction.note_provider_messages([])
        found = await transaction.submissions_of("smsc", ["m\\1\0", "m9", "m2"])
        assert found == {"m\\1\0": named}
        assert await transaction.submissions_of("other", ["m\\1\0"]) == {}
        assert await transaction.submissions_of("smsc", []) == {}


async def test_a_reused_message_id_means_the_newest(store: Store) -> None:
    """Providers count round; a receipt belongs to the latest submission of that name."""
    old = a_submission(2, provider_message="7")
    new = a_submission(1, provider_message="7", at=later(60))
    async with store.transaction() as transaction:
        await transaction.add_submissions([new, old])
        assert await transaction.submissions_of("smsc", ["7"]) == {"7": new}
