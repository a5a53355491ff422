"""A server in a container: how it is created, restarted, shared, removed, and known to be ready."""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from aoi_events.testing.ports import free_port
from aoi_events.testing.reaper import Lease

READY_WITHIN: Final = 300.0
"""Seconds for a server to serve after it was started."""

Known = dict[str, str]
"""A server as one process describes it to another: its container and ports."""


class ContainersUnavailable(RuntimeError):
    """A container could not be started; the message names what is missing."""


class ContainerServer:
    """A server in a container; it keeps its ports when it is restarted."""

    container: Any
    _lease: Lease | None = None

    def __init__(self, image: str) -> None:
        self.image = image
        self.port = free_port()
        self.label = f"aoi-events.testing={os.getpid()}-{secrets.token_hex(8)}"
        """What the container carries; when no process uses it any more, a reaper removes it."""

    def stop(self) -> None:
        """Remove the container, if it was started."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        from docker.errors import NotFound

        # Where its creation was interrupted we have no container, but the engine may: the reaper
        # waits for it. So it does if this is interrupted, too.
        created = self.container._container is not None
        try:
            with suppress(NotFound):
                self.container.stop()
            if created:
                lease.settle()
        finally:
            lease.give_up()

    def leave(self) -> None:
        """Stop using a server that another process started."""
        self.container.get_docker_client().client.close()
        if self._lease is not None:
            self._lease.give_up()

    def kill(self) -> None:
        """End the server as a power cut would: nothing is flushed or closed."""
        self.container.get_wrapped_container().kill()

    def come_back(self) -> None:
        """Start a server that was killed, with what it had written, and wait until it serves."""
        self.container.get_wrapped_container().start()
        self.wait_ready()

    def restart(self) -> None:
        """Stop the server in good order, which ends its sessions, and start it again."""
        self.container.get_wrapped_container().restart(timeout=60)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it serves."""
        raise NotImplementedError

    def known(self) -> Known:
        """The values with which another process on this machine joins it."""
        assert self._lease is not None, "it does not run"
        return {
            "container": self.container.get_container_id(),
            "port": str(self.port),
            "lease": str(self._lease.path),
        }

    def _create(self, container: Any) -> None:
        """Create and start the container, and wait until it serves."""
        from testcontainers.core.config import testcontainers_config

        key, _, value = self.label.partition("=")
        self.container = container.with_kwargs(**container._kwargs, labels={key: value})
        self._lease = Lease(self.label)
        ryuk_disabled = testcontainers_config.ryuk_disabled
        testcontainers_config.ryuk_disabled = True
        try:
            container.start()
        finally:
            testcontainers_config.ryuk_disabled = ryuk_disabled

    def _attach(self, kind: type[Any], known: Known) -> None:
        self._lease = Lease.joined(Path(known["lease"]))
        with warnings.catch_warnings():
            # See starting_containers.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            self.container = kind(self.image)
        client = self.container.get_docker_client().client
        # testcontainers has no way of its own to take up what runs already.
        self.container._container = client.containers.get(known["container"])
        self.port = int(known["port"])


@contextmanager
def starting_containers(image: str) -> Iterator[None]:
    """Import testcontainers. Raises ContainersUnavailable with what to install."""
    with warnings.catch_warnings():
        # Version 4.15 warns for each of its containers, whichever way it is imported.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            from docker.errors import DockerException
            from testcontainers.core.exceptions import (
                ContainerConnectException,
                ContainerStartException,
            )
        except ImportError:
            raise ContainersUnavailable(
                "testcontainers is not installed: pip install 'aoi-events[testing]'"
            ) from None
        try:
            yield
        except (DockerException, ContainerConnectException, ContainerStartException) as error:
            raise ContainersUnavailable(
                f"no container of {image} could be started: {str(error).splitlines()[0]}. Is a "
                "Docker engine running, may you use it, and can it have that image? "
                "AOI_TEST_RABBITMQ_IMAGE and AOI_TEST_POSTGRES_IMAGE name others"
            ) from error


def wait_until(ready: Callable[[], bool], failure: str = "a container does not serve") -> None:
    """Poll until it is true; a node that starts answers, resets and refuses in turn.

    Raises TimeoutError, which says ``failure`` and what went wrong at last.
    """
    deadline = time.monotonic() + READY_WITHIN
    while True:
        late = time.monotonic() > deadline
        wrong: Exception | None = None
        try:
            if ready():
                return
        except (AssertionError, HTTPException, OSError, TimeoutError) as error:
            wrong = error
        if late:
            why = "" if wrong is None else f": {wrong}"
            raise TimeoutError(f"{failure} within {READY_WITHIN:g} s{why}") from wrong
        time.sleep(0.2)
