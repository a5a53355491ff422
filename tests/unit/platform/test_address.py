"""The settings of a port."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.gateway.settings import GatewaySettings


@pytest.mark.parametrize("settings", [EndpointSettings, GatewaySettings])
def test_a_private_key_needs_a_certificate(
    settings: type[EndpointSettings] | type[GatewaySettings],
) -> None:
    """A private key alone is refused; a certificate may have its key in its own file."""
    settings(certificate=Path("c.pem"))
    settings(certificate=Path("c.pem"), private_key=Path("k.pem"))
    with pytest.raises(ValidationError, match="private_key needs certificate"):
        settings(private_key=Path("k.pem"))
