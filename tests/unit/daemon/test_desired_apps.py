"""The desired apps: stored whole; a damaged file is refused; the last identity counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aoi_events.client import FileStorage, MemoryStorage
from aoi_events.daemon.desired_apps import DesiredApp, DesiredApps
from aoi_events.errors import ClientStateError

MAIL = DesiredApp("org.example.mail", "default", 1000, ("/bin/true", "a b"))
CHAT = DesiredApp("org.example.chat", "default", 1001, sender_key="B" + "A" * 86, lost=3)


class FullDisk(MemoryStorage):
    """A storage that cannot save while ``full``."""

    full = False

    async def save(self, data: bytes) -> None:
        """Save, unless full."""
        if self.full:
            raise ClientStateError("cannot write: no space left")
        await super().save(data)


async def opened(storage: MemoryStorage | FileStorage) -> DesiredApps:
    """The desired apps after a start of the daemon."""
    desired = DesiredApps(storage)
    await desired.open()
    return desired


async def test_they_survive(tmp_path: Path) -> None:
    """Saved apps are there after a restart, and removed ones are not."""
    file = tmp_path / "apps.json"
    desired = DesiredApps(FileStorage(file))
    assert not await desired.open()
    await desired.save(MAIL, CHAT)
    await desired.remove(CHAT.key)
    await desired.close()
    desired = DesiredApps(FileStorage(file))
    assert await desired.open()
    assert desired.all == (MAIL,)
    assert desired.command(MAIL.key) == ("/bin/true", "a b")
    assert desired.command(CHAT.key) == ()
    await desired.close()


async def test_a_change_that_cannot_be_saved_did_not_happen() -> None:
    """With a full disk the apps are those on the disk; with room again, changes are made."""
    storage = FullDisk()
    desired = await opened(storage)
    await desired.save(MAIL)
    storage.full = True
    with pytest.raises(ClientStateError):
        await desired.save(CHAT)
    with pytest.raises(ClientStateError):
        await desired.remove(MAIL.key)
    assert [app.key for app in desired.all] == [MAIL.key]
    storage.full = False
    await desired.save(CHAT)
    assert [app.key for app in desired.all] == [MAIL.key, CHAT.key]


async def test_what_changes_nothing_is_not_saved() -> None:
    """An app that attaches again costs no write."""
    storage = FullDisk()
    desired = await opened(storage)
    await desired.save(MAIL)
    storage.full = True
    await desired.save(MAIL)
    await desired.remove(CHAT.key)
    with pytest.raises(ClientStateError):
        await desired.save(CHAT)


async def test_the_last_word_on_the_identity_counts() -> None:
    """A saved identity replaces the setting that it was saved against, and no other."""
    storage = MemoryStorage()
    desired = await opened(storage)
    assert desired.identity("tel:1") == "tel:1"
    assert desired.identity(None) is None
    await desired.save_identity("tel:2", "tel:1")
    await desired.close()
    desired = await opened(MemoryStorage(storage.data))
    assert desired.identity("tel:1") == "tel:2"
    assert desired.identity("tel:3") == "tel:3"
    assert desired.identity(None) is None
    await desired.save_identity("tel:4", None)
    assert desired.identity(None) == "tel:4"


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
    """The error of a damaged file says what to do, and shows nothing of its content."""
    with pytest.raises(ClientStateError, match=r"damaged.*apps\.json") as refused:
        await opened(MemoryStorage(data))
    assert "hidden" not in str(refused.value)


async def test_commands_stay_out_of_logs() -> None:
    """A command's arguments may be private; they show in no representation."""
    assert "a b" not in repr(MAIL)
    storage = MemoryStorage()
    await (await opened(storage)).save(MAIL)
    assert json.loads(storage.data or b"")["apps"][MAIL.key]["command"] == ["/bin/true", "a b"]
