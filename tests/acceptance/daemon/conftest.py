"""A device on the AOI Server of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aoi_events.testing.server import AoiServer
from tests.acceptance.daemon.machine import Machine


@pytest.fixture
async def machine(aoi: AoiServer, tmp_path: Path) -> AsyncIterator[Machine]:
    """A device whose daemon does not run yet."""
    async with Machine(tmp_path, aoi.gateway_url) as machine:
        yield machine
