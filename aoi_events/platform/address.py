"""The settings of a port, and the check that they fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar


class Address(Protocol):
    """The settings of a port; ``certificate`` and ``private_key`` are PEM files for TLS."""

    @property
    def host(self) -> str:
        """The address to bind."""

    @property
    def port(self) -> int:
        """The port to bind; 0: any free one."""

    @property
    def certificate(self) -> Path | None:
        """The file with the certificate chain; None: no TLS."""

    @property
    def private_key(self) -> Path | None:
        """The file with the private key of the certificate."""


A = TypeVar("A", bound=Address)


def key_needs_certificate(address: A) -> A:
    """Return ``address``. Raises ValueError if it has a private key without a certificate."""
    if address.private_key is not None and address.certificate is None:
        raise ValueError("private_key needs certificate beside it")
    return address
