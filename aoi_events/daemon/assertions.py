"""The signed assertion of the user identity, for AOI Servers that verify it (8.1.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from aoi_events.contracts.identifiers import Assertion
from aoi_events.errors import ConfigurationError
from aoi_events.platform.files import open_regular

_LARGEST: Final = 65_536
_form: Final = TypeAdapter(Assertion)


def read_assertion(file: Path | None) -> str | None:
    """The JWT in ``file``, None if ``file`` is None.

    Raises ConfigurationError, which does not show what the file contains.
    """
    if file is None:
        return None
    try:
        with open_regular(file) as opened:
            octets = opened.read(_LARGEST)
        return _form.validate_python(octets.decode("ascii").strip())
    except OSError as error:
        raise ConfigurationError(
            f"AOI_CLIENT__ASSERTION_FILE: {file}: {error.strerror}; put the signed assertion of "
            "the identity there, or unset it"
        ) from None
    except (UnicodeDecodeError, ValidationError):
        raise ConfigurationError(
            f"AOI_CLIENT__ASSERTION_FILE: {file} holds no JWT: three parts of base64url, with dots"
        ) from None
