"""What is made of a file that changes while the process runs."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aoi_events.bootstrap.identities import identity_check
from aoi_events.bootstrap.settings import PolicySettings
from aoi_events.daemon.daemon import _transport
from aoi_events.daemon.settings import ClientSettings
from aoi_events.errors import ConfigurationError
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


async def test_hup_takes_what_the_files_contain_now(tmp_path: Path) -> None:
    """Channels and the daemon trust the new certificates, and identities need the new keys; where a
    file has become nothing, the content before it counts.
    """
    files, stop, taken = FollowedFiles(), asyncio.Event(), asyncio.Event()
    certificate, keys = self_signed(tmp_path), tmp_path / "identities.pem"
    public_key(keys)
    trust = Trust(certificate, "ca_file")
    settings = ClientSettings(url="wss://localhost/aoi", ca_file=certificate)
    transport = _transport(settings, "wss://localhost/aoi")
    check = identity_check(PolicySettings(identity_keys=keys, identity_audience="aoi"))
    assert check is not None

    async def last() -> None:
        taken.set()

    async def hup() -> list[object]:
        taken.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(WITHIN):
            await taken.wait()
        return [trusted(trust.tls), trusted(transport.tls), check.keys]

    follow([keys], last, taken="last_taken", refused="last_refused")
    watching = asyncio.create_task(files.watch(ManualClock(), stop))
    first = await hup()
    self_signed(tmp_path)
    public_key(keys)
    second = await hup()
    assert all(new != old for new, old in zip(second, first, strict=True))
    certificate.write_text("nothing")
    keys.write_text("nothing")
    assert await hup() == second
    stop.set()
    await watching


async def test_no_fifo_is_waited_for(tmp_path: Path) -> None:
    """A FIFO in the place of a file is refused at the start, by the name of its setting, and when
    it replaces the file; neither the start nor the other files wait for it.
    """
    files, stop, taken = FollowedFiles(), asyncio.Event(), asyncio.Event()
    certificate, fifo = self_signed(tmp_path), tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ConfigurationError, match=r"ca_file: cannot read .* not a regular file"):
        Trust(fifo, "ca_file")
    trust = Trust(certificate, "ca_file")
    before = trusted(trust.tls)

    async def last() -> None:
        taken.set()

    follow([certificate], last, taken="last_taken", refused="last_refused")
    fifo.replace(certificate)
    watching = asyncio.create_task(files.watch(ManualClock(), stop))
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(WITHIN):
        await taken.wait()
    assert trusted(trust.tls) == before
    stop.set()
    await watching


def test_a_ca_file_that_vanishes_while_it_is_read_is_refused_by_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a file is no unexpected error, which would end the worker that reads it again."""
    certificate = self_signed(tmp_path)
    monkeypatch.setattr(tls, "check_readable", lambda file, _name: file.unlink())
    with pytest.raises(ConfigurationError, match=r"ca_file: cannot read .* No such file"):
        Trust(certificate, "ca_file")
