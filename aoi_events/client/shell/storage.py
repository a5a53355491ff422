"""Storages of an AOI Client: a file that survives a kill at any moment, and memory for tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from aoi_events.client.shell.file_lock import OWNER_ONLY, lock_file
from aoi_events.errors import ClientStateError

_LARGEST: Final = 16 * 1024 * 1024


class FileStorage:
    """Stores a value in one file, which only its owner can read and write (mode 0600).

    Each save writes and syncs a new file beside it, renames it over the old one and syncs the
    folder: at any moment the name means the old value or the new one, whole. A second AOI Client on
    the same file is refused, since the two would use each other's sequence numbers; the lock ends
    with the process.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._new = self._path.with_name(self._path.name + ".new")
        self._lock: int | None = None

    async def load(self) -> bytes | None:
        """The value saved last, None if there is none. Raises ClientStateError."""
        return await asyncio.to_thread(self._load)

    async def save(self, data: bytes) -> None:
        """Save the value; on return it survives a power cut. Raises ClientStateError.

        After an error the file has the old value, unless only the last step failed, the sync of the
        folder: then it has the new value, and a power cut may bring the old one back.
        """
        await asyncio.to_thread(self._save, data)

    async def close(self) -> None:
        """Unlock the file."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _load(self) -> bytes | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._lock is None:
                self._lock = lock_file(self._path)
            if self._lock is None:
                raise ClientStateError(
                    f"another AOI Client uses {self._path}; stop it, or give this one another file"
                )
            with self._path.open("rb") as file:
                # A file that was restored from a backup may have another mode.
                os.fchmod(file.fileno(), OWNER_ONLY)
                data = file.read(_LARGEST + 1)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self._lock is not None:
                return None  # its folder is there
            raise ClientStateError(f"cannot read {self._path}: {error.strerror}") from error
        if len(data) > _LARGEST:
            raise ClientStateError(
                f"{self._path} is larger than {_LARGEST} octets, so it is not the state of an AOI "
                "Client; move it away, or give the AOI Client another file"
            )
        return data

    def _save(self, data: bytes) -> None:
        if self._lock is None:
            raise ClientStateError(f"{self._path} was not loaded, or closed; load it first")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._new, flags, OWNER_ONLY)
            try:
                os.fchmod(descriptor, OWNER_ONLY)
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
    """Stores the value in memory, for tests and simulations; it survives the client."""

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data
        self._locked = False

    async def load(self) -> bytes | None:
        """The value saved last. Raises ClientStateError while another client uses it."""
        if self._locked:
            raise ClientStateError("another AOI Client uses this memory; stop it first")
        self._locked = True
        return self.data

    async def save(self, data: bytes) -> None:
        """Store the value."""
        if not self._locked:
            raise ClientStateError("this memory was not loaded, or closed; load it first")
        self.data = data

    async def close(self) -> None:
        """Unlock the memory."""
        self._locked = False
