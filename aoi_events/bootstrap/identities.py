"""The check of signed user identities, as the operator has set it up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aoi_events.bootstrap.settings import PolicySettings
from aoi_events.errors import ConfigurationError, naming
from aoi_events.platform.files import read_regular
from aoi_events.platform.followed_files import follow
from aoi_events.services.registration.identity_assertions import (
    AssertionCheck,
    IdentityKey,
    identity_keys,
)


def identity_check(policy: PolicySettings) -> AssertionCheck | None:
    """The check, or None where identities need no proof. Raises ConfigurationError."""
    if policy.identity_keys is None and policy.identity_audience is None:
        return None
    if policy.identity_keys is None or not policy.identity_audience:
        raise ConfigurationError(
            "set both AOI_POLICY__IDENTITY_KEYS and AOI_POLICY__IDENTITY_AUDIENCE, or neither"
        )
    file = policy.identity_keys
    check = AssertionCheck((), policy.identity_audience)

    async def take() -> None:
        check.keys = _keys(file)

    follow([file], take, taken="identity_keys_taken", refused="identity_keys_refused")
    check.keys = _keys(file)
    return check


def _keys(file: Path) -> Sequence[IdentityKey]:
    try:
        text = read_regular(file)
    except OSError as error:
        raise ConfigurationError(
            f"AOI_POLICY__IDENTITY_KEYS: cannot read {file}: {error.strerror}"
        ) from None
    with naming("AOI_POLICY__IDENTITY_KEYS"):
        return identity_keys(text, str(file))
