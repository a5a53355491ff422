"""Who waits for whose lock, on the store where transactions run beside each other."""

from __future__ import annotations

from tests.support import containers
from tests.support.system import System


async def somebody_waits(system: System, *, count: int = 1) -> None:
    """Return as soon as so many transactions wait for a lock of another one."""
    url = system.installation.settings.store.get_secret_value()
    await containers.somebody_waits(url, count=count)
