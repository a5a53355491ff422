"""An SMSC of plain sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.raw_smsc import RawSmsc


@pytest.fixture
async def smsc() -> AsyncIterator[RawSmsc]:
    """An SMSC."""
    async with RawSmsc() as smsc:
        yield smsc
