"""The server's keys, for tokens and for challenges: from the environment or from a file."""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Any, Final

from aoi_events.bootstrap.settings import Settings
from aoi_events.domain.clients.tokens import TokenKeys, fingerprint_of
from aoi_events.errors import ConfigurationError, naming
from aoi_events.platform.files import read_regular

if TYPE_CHECKING:
    from aoi_events.domain.clients.applications import Application

_TOKEN_OCTETS: Final = 64
_CHALLENGE_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """Keys that every worker of an installation shares."""

    token_keys: TokenKeys
    challenge_key: bytes = field(repr=False)


def ephemeral_keys() -> ServerKeys:
    """New keys that are stored nowhere, for demos and tests."""
    return ServerKeys(
        TokenKeys({"k1": secrets.token_bytes(_TOKEN_OCTETS)}),
        secrets.token_bytes(_CHALLENGE_OCTETS),
    )


def load_keys(settings: Settings) -> ServerKeys:
    """The keys from the settings, else from the key file. Raises ConfigurationError."""
    if not settings.names_keys:
        with naming("AOI_KEY_FILE"):
            return load_key_file(settings.key_file)
    if not settings.token_keys or settings.challenge_key is None:
        raise ConfigurationError(
            "set both AOI_TOKEN_KEYS and AOI_CHALLENGE_KEY, or neither and AOI_KEY_FILE"
        )
    with naming("AOI_TOKEN_KEYS and AOI_CHALLENGE_KEY"):
        return decode_keys(
            {name: text.get_secret_value() for name, text in settings.token_keys.items()},
            settings.challenge_key.get_secret_value(),
        )


def check_keys(keys: ServerKeys, in_use: Mapping[str, int], samples: Sequence[Application]) -> None:
    """Raises ConfigurationError where valid tokens need a key that is missing or has changed.

    Apps with these tokens could not be reached, and their deliveries would wait.

    ``in_use``: token key ID → valid tokens; ``samples``: an app instance for each of these keys.
    """
    missing = sorted(in_use.keys() - set(keys.token_keys.ids))
    if missing:
        count = sum(in_use[key_id] for key_id in missing)
        raise ConfigurationError(
            f"token key {', '.join(missing)} is missing, and {count} tokens were made with it; put "
            "it back, after the issuing key (`aoi keys list` shows which may be removed)"
        )
    wrong = sorted(
        app.key_id
        for app in samples
        if fingerprint_of(keys.token_keys.issue(app.claims, app.key_id)) != app.fingerprint
    )
    if wrong:
        count = sum(in_use.get(key_id, 0) for key_id in wrong)
        raise ConfigurationError(
            f"token key {', '.join(wrong)} is not the one that {count} tokens in the store were "
            "made with: another key stands under its ID. Is this the key file of another "
            "installation, or a new one? Put the right one in its place, from a copy if need be"
        )


def decode_keys(tokens: dict[str, str], challenge: str) -> ServerKeys:
    """Keys from base64 text. Raises ConfigurationError that never repeats the text."""
    try:
        decoded = {name: base64.b64decode(text, validate=True) for name, text in tokens.items()}
        challenge_key = base64.b64decode(challenge, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            "a server key is not base64; `aoi keys new` makes valid ones"
        ) from None
    if len(challenge_key) < _CHALLENGE_OCTETS:
        raise ConfigurationError(
            f"the challenge key needs {_CHALLENGE_OCTETS} octets; `aoi keys new` makes valid ones"
        )
    return ServerKeys(TokenKeys(decoded), challenge_key)


def create_key_file(path: Path) -> bool:
    """Make new keys, readable by the owner only; returns False where a file is there already, also
    where another process makes it at the same time. Raises ConfigurationError.
    """
    body = {
        "tokens": {"k1": base64.b64encode(secrets.token_bytes(_TOKEN_OCTETS)).decode()},
        "challenge": base64.b64encode(secrets.token_bytes(_CHALLENGE_OCTETS)).decode(),
    }
    with _writing(path) as fresh:
        _write(fresh, body)
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        return True


def is_missing(path: Path) -> bool:
    """Whether there is nothing at ``path``; a path that cannot be used is another fault."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def add_token_key(path: Path) -> str:
    """Append a new token key; returns its ID. Raises ConfigurationError."""
    body = _read(path)
    tokens: dict[str, str] = body["tokens"]
    key_id = next(f"k{n}" for n in count(1) if f"k{n}" not in tokens)
    tokens[key_id] = base64.b64encode(secrets.token_bytes(_TOKEN_OCTETS)).decode()
    _replace(path, body)
    return key_id


def issue_with(path: Path, key_id: str) -> None:
    """Make this token key the issuing one; the others stay. Raises ConfigurationError."""
    body = _read(path)
    tokens: dict[str, str] = body["tokens"]
    if key_id not in tokens:
        raise ConfigurationError(
            f"{path} has no token key {key_id!r}, only {', '.join(tokens)}; `aoi keys add` makes "
            "a new one"
        )
    body["tokens"] = {key_id: tokens[key_id]} | tokens
    _replace(path, body)


def _replace(path: Path, body: Mapping[str, Any]) -> None:
    """Replace a key file atomically, with the same permissions and owner."""
    with _writing(path) as fresh:
        before = path.stat()
        _write(fresh, body)
        fresh.chmod(before.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(fresh, before.st_uid, before.st_gid)
        fresh.replace(path)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """A new empty file in the folder of ``path``, which is removed at the end if it is still there.
    Raises ConfigurationError for whatever the system refuses.
    """
    try:
        handle, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _write(path: Path, body: Mapping[str, Any]) -> None:
    """Write the content of a key file to the disk."""
    with path.open("w") as file:
        json.dump(body, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def load_key_file(path: Path) -> ServerKeys:
    """Read the keys. Raises ConfigurationError."""
    body = _read(path)
    return decode_keys(body["tokens"], body["challenge"])


def _read(path: Path) -> dict[str, Any]:
    """The content of a key file, of which only the format is checked."""
    try:
        body = json.loads(read_regular(path))
        tokens = {str(name): str(text) for name, text in dict(body["tokens"]).items()}
        return {"tokens": tokens, "challenge": str(body["challenge"])}
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no key file {path}; `aoi keys new --file {path}` makes one, and every "
            "worker of the installation needs the same"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigurationError(
            f'{path} is no key file: it needs {{"tokens": {{"k1": …}}, "challenge": …}}'
        ) from None
