"""Where an AOI Client keeps its state: a file that survives a kill at any moment."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

from aoi_events.errors import ClientStateError

__all__ = ["FileStorage", "MemoryStorage"]

_OWNER_ONLY: Final = 0o600
_LARGEST: Final = 16 * 1024 * 1024


class FileStorage:
    """One file, readable and writable by its owner only (mode 0600).

    Each save writes and syncs a new file beside it, renames that over it and syncs the folder: at
    any moment the name means the old value or the new one, whole. A second AOI Client on the same
    file is refused, as two would spend each other's sequence numbers; the lock ends with the
    process.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._new = self._path.with_name(self._path.name + ".new")
        self._lock: int | None = None

    async def load(self) -> bytes | None:
        """The value saved last, None if there is none. Raises ClientStateError."""
        return await asyncio.to_thread(self._load)

    async def save(self, data: bytes) -> None:
        """Save durably. Raises ClientStateError; the value before stays then."""
        await asyncio.to_thread(self._save, data)

    async def close(self) -> None:
        """Let another AOI Client use the file."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _load(self) -> bytes | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_hold()
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ClientStateError(f"cannot read {self._path}: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            # A file that was restored from a backup may have become readable for others.
            os.fchmod(file.fileno(), _OWNER_ONLY)
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ClientStateError(f"{self._path} is larger than {_LARGEST} octets: not our file")
        return data

    def _take_hold(self) -> None:
        if self._lock is not None:
            return
        # A file of its own: the state file is replaced at each save, and a lock is on the inode.
        path = self._path.with_name(self._path.name + ".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ClientStateError(
                f"another AOI Client uses {self._path}; stop it, or give this one another file"
            ) from None
        self._lock = descriptor

    def _save(self, data: bytes) -> None:
        if self._lock is None:
            raise ClientStateError(f"{self._path} was not loaded, or closed; load it first")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._new, flags, _OWNER_ONLY)
            try:
                os.fchmod(descriptor, _OWNER_ONLY)
                left = memoryview(data)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._new.replace(self._path)
            self._sync_folder()
        except OSError as error:
            raise ClientStateError(f"cannot write {self._path}: {error.strerror}") from error

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class MemoryStorage:
    """Keeps the value in memory: for tests and simulations; hand it to the next client's life."""

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data
        self.saves = 0
        self._held = False

    async def load(self) -> bytes | None:
        """The value saved last. Raises ClientStateError while another client holds it."""
        if self._held:
            raise ClientStateError("another AOI Client uses this memory; stop it first")
        self._held = True
        return self.data

    async def save(self, data: bytes) -> None:
        """Keep the value."""
        if not self._held:
            raise ClientStateError("this memory was not loaded, or closed; load it first")
        self.data = data
        self.saves += 1

    async def close(self) -> None:
        """Let another AOI Client use it."""
        self._held = False
