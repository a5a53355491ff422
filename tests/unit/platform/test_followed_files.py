"""What is made of a file that changes while the process runs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aoi_events.bootstrap.identities import identity_check
from aoi_events.bootstrap.settings import PolicySettings
from aoi_events.daemon.daemon import _transport
from aoi_events.daemon.settings import ClientSettings
from aoi_events.errors import AoiError, ConfigurationError, StoreUnavailable
from aoi_events.platform import tls
from aoi_events.platform.followed_files import FollowedFiles, follow
from aoi_events.platform.tls import Trust
from aoi_events.testing.stopped_clock import ManualClock
from tests.support.certificates import self_signed
from tests.support.limits import WITHIN


def public_key(file: Path) -> None:
    """Write a new public key to ``file``."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    file.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def trusted(context: ssl.SSLContext | None) -> list[bytes]:
    """The certificates that it trusts."""
    assert context is not None
    return context.get_ca_certs(binary_form=True)


class Watching:
    """Followed files that are watched on a clock that the test moves."""

    def __init__(self, marker: Path) -> None:
        marker.touch()
        self.clock = ManualClock()
        self._marker = marker
        self._read = asyncio.Event()
        follow([marker], self._take, taken="marker_taken", refused="marker_refused")

    async def _take(self) -> None:
        self._read.set()

    async def look(self, times: int = 1) -> None:
        """Let it look so many times."""
        for _ in range(times):
            self.clock.advance(0.5)
            async with asyncio.timeout(WITHIN):
                await self.clock.somebody_sleeps()

    async def hup(self) -> None:
        """Send HUP, and wait until every file that was followed before was read again."""
        self._read.clear()
        with self._marker.open("a") as marker:
            marker.write("another HUP")
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(WITHIN):
            await self._read.wait()


@asynccontextmanager
async def watched(files: FollowedFiles, marker: Path) -> AsyncIterator[Watching]:
    """Watch the files that are followed so far, and ``marker``, until the block ends."""
    watching = Watching(marker)
    task = asyncio.create_task(files.watch(watching.clock))
    await watching.clock.somebody_sleeps()
    yield watching
    task.cancel()


@dataclass
class Taken:
    """Remembers each content of ``file`` that is taken; with a ``fault`` nothing is."""

    file: Path
    fault: AoiError | None = None
    contents: list[str] = field(default_factory=list)

    async def __call__(self) -> None:
        """Take the content."""
        if self.fault is not None:
            raise self.fault
        self.contents.append(self.file.read_text())


@pytest.fixture
def taken(tmp_path: Path) -> Taken:
    """What is taken of a file with the content "first"."""
    (file := tmp_path / "file").write_text("first")
    return Taken(file)


async def test_hup_takes_what_the_files_contain_now(tmp_path: Path) -> None:
    """Channels and the daemon trust the new certificates, and identities need the new keys; where a
    file has become nothing, the content before it counts.
    """
    files, certificate, keys = FollowedFiles(), self_signed(tmp_path), tmp_path / "identities.pem"
    public_key(keys)
    trust = Trust(certificate, "ca_file")
    settings = ClientSettings(url="wss://localhost/aoi", ca_file=certificate)
    transport = _transport(settings, "wss://localhost/aoi")
    check = identity_check(PolicySettings(identity_keys=keys, identity_audience="aoi"))
    assert check is not None

    def now() -> list[object]:
        return [trusted(trust.tls), trusted(transport.tls), check.keys]

    async with watched(files, tmp_path / "marker") as watching:
        first = now()
        self_signed(tmp_path)
        public_key(keys)
        await watching.hup()
        second = now()
        assert all(new != old for new, old in zip(second, first, strict=True))
        certificate.write_text("nothing")
        keys.write_text("nothing")
        await watching.hup()
        assert now() == second


async def test_hup_takes_only_files_that_changed(
    taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    """A file as it was is neither taken nor logged as taken; one that was refused is tried again,
    for its fault may be elsewhere.
    """
    files = FollowedFiles()
    follow([taken.file], taken, taken="file_taken", refused="file_refused")
    async with watched(files, taken.file.with_name("marker")) as watching:
        with caplog.at_level(logging.INFO, "aoi_events"):
            await watching.hup()
            assert (taken.contents, said(caplog)) == ([], [])
            taken.file.write_text("second")
            taken.fault = ConfigurationError("AOI_FILE: needs another")
            await watching.hup()
            taken.fault = None
            await watching.hup()
            await watching.hup()
        assert taken.contents == ["second"]
        assert said(caplog) == ["file_refused", "file_taken"]


async def test_a_file_is_tried_again_while_the_store_is_away(
    taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    """It is taken at the first look at which the store is back, without another change; the log
    names the file and the reason once.
    """
    files = FollowedFiles()
    follow([taken.file], taken, taken="file_taken", refused="file_refused")
    async with watched(files, taken.file.with_name("marker")) as watching:
        taken.fault = StoreUnavailable("cannot reach the store")
        taken.file.write_text("second")
        with caplog.at_level(logging.INFO, "aoi_events"):
            await watching.look(4)
            assert taken.contents == []
            taken.fault = None
            await watching.look(3)
        assert taken.contents == ["second"]
        assert said(caplog) == ["file_refused", "file_taken"]
        refused = caplog.records[0].__dict__
        assert (refused["error"], refused["files"]) == ("cannot reach the store", [str(taken.file)])
        assert "tried again" in refused["hint"]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The events about the file in the log."""
    return [name for each in caplog.records if (name := each.getMessage()).startswith("file_")]


async def test_no_fifo_is_waited_for(tmp_path: Path) -> None:
    """A FIFO in the place of a file is refused at the start, by the name of its setting, and when
    it replaces the file; neither the start nor the other files wait for it.
    """
    files, certificate, fifo = FollowedFiles(), self_signed(tmp_path), tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ConfigurationError, match=r"ca_file: cannot read .* not a regular file"):
        Trust(fifo, "ca_file")
    trust = Trust(certificate, "ca_file")
    before = trusted(trust.tls)
    async with watched(files, tmp_path / "marker") as watching:
        fifo.replace(certificate)
        await watching.hup()
        assert trusted(trust.tls) == before


def test_a_ca_file_that_vanishes_while_it_is_read_is_refused_by_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a file is no unexpected error, which would end the worker that reads it again."""
    certificate = self_signed(tmp_path)
    monkeypatch.setattr(tls, "check_readable", lambda file, _name: file.unlink())
    with pytest.raises(ConfigurationError, match=r"ca_file: cannot read .* No such file"):
        Trust(certificate, "ca_file")
