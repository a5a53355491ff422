"""Storage: one conformance suite for file and memory, and the failures that only a file has."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aoi_events.client.ports import Storage
from aoi_events.client.shell.storage import FileStorage, MemoryStorage
from aoi_events.errors import ClientStateError

STEPS = ("open", "fchmod", "write", "fsync", "close", "replace")


def mode_of(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Each implementation of the port."""
    return FileStorage(tmp_path / "a" / "state") if request.param == "file" else MemoryStorage()


async def test_keeps_what_was_saved_last(storage: Storage) -> None:
    """Nothing before the first save; then the last one, also after closing."""
    assert await storage.load() is None
    for data in (b"one", b"two" * 100_000, b""):
        await storage.save(data)
        await storage.close()
        assert await storage.load() == data
    await storage.close()


async def test_is_used_between_load_and_close_only(storage: Storage) -> None:
    """Saving without having loaded is refused: another client may use the storage."""
    with pytest.raises(ClientStateError, match="load it first"):
        await storage.save(b"x")
    await storage.load()
    await storage.close()
    with pytest.raises(ClientStateError, match="load it first"):
        await storage.save(b"x")


async def test_a_folder_that_cannot_be_made() -> None:
    """It is an error at once, and not an AOI Client without state."""
    with pytest.raises(ClientStateError, match="No such file or directory"):
        await FileStorage("/proc/aoi/state").load()


async def test_memory_is_used_by_one_client() -> None:
    """A second client on the same memory is refused until the first closes it."""
    memory = MemoryStorage()
    await memory.load()
    with pytest.raises(ClientStateError, match="another"):
        await memory.load()


async def test_file_is_used_by_one_client(tmp_path: Path) -> None:
    """A second client on the same file is refused until the first closes it."""
    first, second = FileStorage(tmp_path / "state"), FileStorage(tmp_path / "state")
    await first.load()
    with pytest.raises(ClientStateError, match="another AOI Client"):
        await second.load()
    await first.close()
    assert await second.load() is None
    await second.close()


async def test_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """The file has mode 0600 from its creation, and again after it was changed."""
    path = tmp_path / "state"
    storage = FileStorage(path)
    await storage.load()
    before = os.umask(0)
    try:
        await storage.save(b"secret")
    finally:
        os.umask(before)
    assert {mode_of(tmp_path / name) for name in ("state", "state.lock")} == {0o600}
    path.chmod(0o644)
    await storage.load()
    assert mode_of(path) == 0o600
    await storage.close()


async def test_does_not_write_through_a_link(tmp_path: Path) -> None:
    """A symbolic link laid at the temporary name is not followed."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "state.new").symlink_to(target)
    storage = FileStorage(tmp_path / "state")
    await storage.load()
    with pytest.raises(ClientStateError):
        await storage.save(b"x")
    await storage.close()
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("after", range(9))
async def test_killed_after_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """However far a save comes before the process dies, the old value or the new one is there."""
    path = tmp_path / "state"
    storage = FileStorage(path)
    await storage.load()
    await storage.save(b"old")
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in STEPS}
    taken = 0

    def dying(name: str) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken > after:
                raise OSError(5, "the process is dead")
            if name == "write" and taken == after:  # half of it reaches the disk
                return real[name](arguments[0], arguments[1][: len(arguments[1]) // 2])
            return real[name](*arguments, **options)

        return step

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, dying(name))
        with pytest.raises(ClientStateError, match="cannot write"):
            await storage.save(b"new value")
    await storage.close()

    next_life = FileStorage(path)
    assert await next_life.load() in (b"old", b"new value")
    await next_life.save(b"newest")
    await next_life.close()
    assert await next_life.load() == b"newest"
    await next_life.close()


async def test_a_save_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file is synced before it is renamed over the old one, and the folder after that: no
    other order survives a loss of power.
    """
    storage = FileStorage(tmp_path / "state")
    await storage.load()
    taken: list[str] = []

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if name == "fsync":
                folder = stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
                taken.append("sync folder" if folder else "sync file")
            else:
                taken.append(name)
            return real(*arguments, **options)

        return step

    with monkeypatch.context() as patch:
        for name in ("write", "fsync", "replace"):
            patch.setattr(os, name, noting(name, getattr(os, name)))
        await storage.save(b"new value")
    await storage.close()
    assert taken == ["write", "sync file", "replace", "sync folder"]


@pytest.mark.parametrize(
    "step, left",
    [("write", b"old"), ("sync file", b"old"), ("replace", b"old"), ("sync folder", b"new value")],
)
async def test_which_value_a_failed_save_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, left: bytes
) -> None:
    """A failed save leaves the old value; only if the sync of the folder failed, the new one."""
    storage = FileStorage(tmp_path / "state")
    await storage.load()
    await storage.save(b"old")

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            taken = name
            if name == "fsync":
                folder = stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
                taken = "sync folder" if folder else "sync file"
            if taken == step:
                raise OSError(5, "Input/output error")
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("write", "fsync", "replace"):
            patch.setattr(os, name, failing(name, getattr(os, name)))
        with pytest.raises(ClientStateError, match="cannot write"):
            await storage.save(b"new value")
    assert await storage.load() == left
    await storage.close()


async def test_a_write_that_takes_a_part_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system call may write only a part of the data; the saved value is whole all the same."""
    storage = FileStorage(tmp_path / "state")
    await storage.load()
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: real(file, data[: len(data) // 2 + 1]))
        await storage.save(b"a value of some length")
    await storage.close()
    assert await storage.load() == b"a value of some length"
    await storage.close()


async def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    """It is refused as state that cannot be read, and the folder stays as it is."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    before = mode_of(folder)
    storage = FileStorage(folder)
    with pytest.raises(ClientStateError, match=r"cannot read .*state: Is a directory"):
        await storage.load()
    await storage.close()
    assert mode_of(folder) == before
