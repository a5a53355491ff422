"""What people and apps asked for: kept whole, bounded in what it believes, the last word counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aoi_events.client import FileStorage, MemoryStorage
from aoi_events.daemon.desired_apps import Wish, Wishes
from aoi_events.errors import ClientStateError

MAIL = Wish("org.example.mail", "default", 1000, ("/bin/true", "a b"))
CHAT = Wish("org.example.chat", "default", 1001, sender_key="B" + "A" * 86, lost=3)


class FullDisk(MemoryStorage):
    """Cannot save any more, once told."""

    full = False

    async def save(self, data: bytes) -> None:
        """Save, unless full."""
        if self.full:
            raise ClientStateError("cannot write: no space left")
        await super().save(data)


async def opened(storage: MemoryStorage | FileStorage) -> Wishes:
    """The wishes of a new life of the daemon."""
    wishes = Wishes(storage)
    await wishes.open()
    return wishes


async def test_they_survive(tmp_path: Path) -> None:
    """What was kept is there in the next life, and what was forgotten is not."""
    file = tmp_path / "apps.json"
    wishes = Wishes(FileStorage(file))
    assert not await wishes.open()
    await wishes.keep(MAIL, CHAT)
    await wishes.forget([CHAT.key])
    await wishes.close()
    wishes = Wishes(FileStorage(file))
    assert await wishes.open()
    assert wishes.apps == (MAIL,)
    assert wishes.command(MAIL.key) == ("/bin/true", "a b")
    assert wishes.command(CHAT.key) == ()
    await wishes.close()


async def test_a_change_that_cannot_be_saved_did_not_happen() -> None:
    """With a full disk the wishes are what the disk says; with room again, changes hold."""
    storage = FullDisk()
    wishes = await opened(storage)
    await wishes.keep(MAIL)
    storage.full = True
    with pytest.raises(ClientStateError):
        await wishes.keep(CHAT)
    with pytest.raises(ClientStateError):
        await wishes.forget([MAIL.key])
    assert [wish.key for wish in wishes.apps] == [MAIL.key]
    storage.full = False
    await wishes.keep(CHAT)
    assert [wish.key for wish in wishes.apps] == [MAIL.key, CHAT.key]


async def test_what_changes_nothing_is_not_saved() -> None:
    """An app that attaches again costs no write."""
    storage = MemoryStorage()
    wishes = await opened(storage)
    await wishes.keep(MAIL)
    await wishes.keep(MAIL)
    await wishes.forget([CHAT.key])
    assert storage.saves == 1


async def test_the_last_word_on_the_identity_counts() -> None:
    """set_identity outranks the setting that it was said against, and no other."""
    storage = MemoryStorage()
    wishes = await opened(storage)
    assert wishes.identity("tel:1") == "tel:1"
    assert wishes.identity(None) is None
    await wishes.keep_identity("tel:2", "tel:1")
    await wishes.close()
    wishes = await opened(MemoryStorage(storage.data))
    assert wishes.identity("tel:1") == "tel:2"
    assert wishes.identity("tel:3") == "tel:3"
    assert wishes.identity(None) is None
    await wishes.keep_identity("tel:4", None)
    assert wishes.identity(None) == "tel:4"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"version": 2}',
        b'{"version": 1, "apps": []}',
        b'{"version": 1, "apps": {"a/b": {"application": "hidden"}}}',
        b"\xff\xfe",
    ],
)
async def test_what_is_not_ours_is_refused(data: bytes) -> None:
    """Damaged wishes end the start with what to do, and without showing what they hold."""
    with pytest.raises(ClientStateError, match=r"damaged.*apps\.json") as refused:
        await opened(MemoryStorage(data))
    assert "hidden" not in str(refused.value)


async def test_commands_stay_out_of_logs() -> None:
    """A command's arguments may be private; they show in no representation."""
    assert "a b" not in repr(MAIL)
    storage = MemoryStorage()
    await (await opened(storage)).keep(MAIL)
    assert json.loads(storage.data or b"")["apps"][MAIL.key]["command"] == ["/bin/true", "a b"]
