"""TLS from PEM files: what cannot be used names its setting, and no terminal is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aoi_events.errors import ConfigurationError
from aoi_events.platform.tls import client_context, server_context
from tests.support.certificates import self_signed


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a certificate and files that are no keys of it."""
    self_signed(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "utf16").write_text("-----BEGIN CERTIFICATE-----", encoding="utf-16")
    key = ec.generate_private_key(ec.SECP256R1())
    for name, cipher in (
        ("other.pem", serialization.NoEncryption()),
        ("encrypted.pem", serialization.BestAvailableEncryption(b"passphrase")),
    ):
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher
        )
        (tmp_path / name).write_bytes(pem)
    return tmp_path


@pytest.mark.parametrize(
    "certificate, key, words",
    [
        ("none.pem", None, "AOI_GATEWAY__CERTIFICATE: cannot read {}: No such file"),
        ("folder", None, "AOI_GATEWAY__CERTIFICATE: cannot read {}: Is a directory"),
        ("x" * 300, None, "AOI_GATEWAY__CERTIFICATE: cannot read {}: File name too long"),
        ("fifo", None, "AOI_GATEWAY__CERTIFICATE: cannot read {}: not a regular file"),
        ("utf16", None, "AOI_GATEWAY__CERTIFICATE: {} must be a PEM file"),
        ("localhost.pem", "folder", "AOI_GATEWAY__PRIVATE_KEY: cannot read {}: Is a directory"),
        ("localhost.pem", "other.pem", "AOI_GATEWAY__PRIVATE_KEY: the private key in {} does not"),
        ("localhost.pem", "encrypted.pem", "the private key in {} is encrypted; store it without"),
    ],
)
def test_files_of_a_server(files: Path, certificate: str, key: str | None, words: str) -> None:
    """Each is refused in one line with the setting; an encrypted key asks for no passphrase."""
    with pytest.raises(ConfigurationError) as refused:
        server_context(files / certificate, None if key is None else files / key, "AOI_GATEWAY")
    text = str(refused.value)
    assert words.format(files / (key or certificate)) in text
    assert text.startswith("AOI_GATEWAY__")
    assert "\n" not in text


@pytest.mark.parametrize("key", [None, "localhost.pem"])
def test_a_certificate_with_its_key(files: Path, key: str | None) -> None:
    """The key may be in the file of the certificate, or in one of its own."""
    server_context(files / "localhost.pem", None if key is None else files / key, "AOI_GATEWAY")


@pytest.mark.parametrize(
    "file, words",
    [
        ("folder", "AOI_CLIENT__CA_FILE: cannot read {}: Is a directory"),
        ("fifo", "AOI_CLIENT__CA_FILE: cannot read {}: not a regular file"),
        ("utf16", "AOI_CLIENT__CA_FILE: {} must be a PEM file with the certificates to trust"),
        ("other.pem", "AOI_CLIENT__CA_FILE: {} must be a PEM file with the certificates to trust"),
    ],
)
def test_a_file_of_certificates_to_trust(files: Path, file: str, words: str) -> None:
    """What has no certificates is refused in one line with the setting."""
    with pytest.raises(ConfigurationError) as refused:
        client_context(files / file, "AOI_CLIENT__CA_FILE")
    assert str(refused.value) == words.format(files / file)


def test_certificates_to_trust(files: Path) -> None:
    """A file replaces the certificates of the system."""
    certificates = client_context(files / "localhost.pem", "AOI_CLIENT__CA_FILE").get_ca_certs()
    assert len(certificates) == 1
