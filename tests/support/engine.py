"""What the Docker engine says happened to containers, networks and volumes, as it happens."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import docker

from aoi_events.testing.containers import POSTGRES_IMAGE
from tests.support.limits import WITHIN


class Engine:
    """The engine's events since this was made, those of the past first."""

    def __init__(self) -> None:
        self.client = docker.from_env()
        self._since = int(time.time())

    def close(self) -> None:
        """Close the connections to it."""
        self.client.close()

    def create(self, **labels: str) -> str:
        """A container with these labels that never runs."""
        image = os.environ.get("AOI_TEST_POSTGRES_IMAGE") or POSTGRES_IMAGE
        container: str = self.client.containers.create(image, "true", labels=labels).id
        return container

    def happened(self, event: str, **filters: str) -> Iterator[dict[str, str]]:
        """The attributes of each such event; it waits for the next, and fails without one."""
        wanted = {"event": event, **filters}
        until = int(time.time() + WITHIN)
        with closing(
            self.client.events(since=self._since, until=until, filters=wanted, decode=True)
        ) as events:
            for each in events:
                actor: dict[str, Any] = each["Actor"]
                yield {"id": actor["ID"], **actor["Attributes"]}
        raise AssertionError(f"no {wanted} within {WITHIN} s")

    def until_removed(self, container: str) -> None:
        """Return when that container is no more."""
        next(self.happened("destroy", container=container))

    def there(self, container: str) -> bool:
        """Whether that container exists."""
        return bool(self.client.containers.list(all=True, filters={"id": container}))
