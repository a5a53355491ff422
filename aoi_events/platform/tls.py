"""TLS from the PEM files that settings name; an error names the setting and says what to do."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aoi_events.errors import ConfigurationError
from aoi_events.platform.files import read_regular
from aoi_events.platform.followed_files import follow

_MISMATCH: Final = "KEY_VALUES_MISMATCH"


def server_context(certificate: Path, private_key: Path | None, prefix: str) -> ssl.SSLContext:
    """TLS with this certificate. ``prefix``, such as "AOI_GATEWAY", is that of its settings.

    Raises ConfigurationError; a private key that is encrypted is refused, and no terminal is asked
    for its passphrase.
    """
    check_readable(certificate, f"{prefix}__CERTIFICATE")
    named, file = f"{prefix}__CERTIFICATE", certificate
    if private_key is not None:
        named, file = f"{prefix}__PRIVATE_KEY", private_key
        check_readable(file, named)

    def encrypted() -> str:
        raise ConfigurationError(
            f"{named}: the private key in {file} is encrypted; store it without a passphrase, "
            "readable by this user only (`openssl pkey -in FILE -out FILE`)"
        )

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, private_key, encrypted)
    except ssl.SSLError as error:
        if error.reason == _MISMATCH:
            raise ConfigurationError(
                f"{named}: the private key in {file} does not belong to {certificate}"
            ) from None
        raise ConfigurationError(
            f"{prefix}__CERTIFICATE: {certificate} must be a PEM file with the certificate chain, "
            f"and the private key must be in it or in the file of {prefix}__PRIVATE_KEY"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{named}: cannot read {file}: {error.strerror}") from None
    return context


def client_context(ca_file: Path | None, name: str) -> ssl.SSLContext:
    """TLS that trusts these certificates, else the system's. ``name`` is that of the setting.

    Raises ConfigurationError.
    """
    if ca_file is not None:
        check_readable(ca_file, name)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ConfigurationError(
            f"{name}: {ca_file} must be a PEM file with the certificates to trust"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read {ca_file}: {error.strerror}") from None


def follow_ca_file(ca_file: Path | None, name: str, use: Callable[[ssl.SSLContext], None]) -> None:
    """Call ``use`` with TLS as of `client_context`, now and whenever the file has changed.

    Raises ConfigurationError.
    """

    async def take() -> None:
        use(client_context(ca_file, name))

    follow([ca_file], take, taken="ca_file_taken", refused="ca_file_refused")
    use(client_context(ca_file, name))


class Trust:
    """The certificates of a PEM file as it is now; None: those of the system, as of the start.

    ``name`` is that of the setting. Raises ConfigurationError.
    """

    def __init__(self, ca_file: Path | None, name: str) -> None:
        follow_ca_file(ca_file, name, self._use)

    def _use(self, tls: ssl.SSLContext) -> None:
        self.tls = tls
        """For connections that are made now."""


def check_readable(file: Path, name: str) -> None:
    """Raises ConfigurationError with ``name`` unless `read_regular` can read it."""
    try:
        read_regular(file)
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read {file}: {error.strerror}") from None
