"""The certificates that a channel trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

from aoi_events.errors import ConfigurationError


def trusting(file: Path | None, setting: str) -> ssl.SSLContext:
    """TLS that trusts the certificates of a PEM file; None: those of the system.

    Raises ConfigurationError, which names ``setting``, when the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        why = "contains no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"{setting} {file}: {why}") from None
