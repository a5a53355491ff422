"""The check of signed user identities, as the operator has set it up."""

from __future__ import annotations

from aoi_events.bootstrap.settings import PolicySettings
from aoi_events.errors import ConfigurationError
from aoi_events.platform.files import read_regular
from aoi_events.services.registration.identity_assertions import AssertionCheck, identity_keys


def identity_check(policy: PolicySettings) -> AssertionCheck | None:
    """The check, or None where identities need no proof. Raises ConfigurationError."""
    if policy.identity_keys is None and policy.identity_audience is None:
        return None
    if policy.identity_keys is None or not policy.identity_audience:
        raise ConfigurationError(
            "set both AOI_POLICY__IDENTITY_KEYS and AOI_POLICY__IDENTITY_AUDIENCE, or neither"
        )
    try:
        text = read_regular(policy.identity_keys)
    except OSError as error:
        raise ConfigurationError(
            f"AOI_POLICY__IDENTITY_KEYS: cannot read {policy.identity_keys}: {error.strerror}"
        ) from None
    try:
        keys = identity_keys(text, str(policy.identity_keys))
    except ConfigurationError as error:
        raise ConfigurationError(f"AOI_POLICY__IDENTITY_KEYS: {error}") from None
    return AssertionCheck(keys, policy.identity_audience)
