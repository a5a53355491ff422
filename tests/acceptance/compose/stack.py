"""The compose file as somebody uses it: through `docker compose`, as a project of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from aoi_events.testing.ports import free_port
from aoi_events.testing.reaper import Lease
from tests.support.limits import WITHIN

COMPOSE: Final = Path(__file__).parents[3] / "compose"
_LOOPBACK: Final = "127.0.0.1"
_EVERY_PROFILE: Final = tuple(
    part for name in ("sms", "smsc", "webhook", "webpush", "proxy") for part in ("--profile", name)
)
_BUNDLES: Final = ("AOI_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Where this machine may say that the package index needs certificates of its own."""
_SYSTEM_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Debian's own; pip here trusts it without being told, a build in a container has another."""


class Stack:
    """One project; what it starts it also removes, volumes included."""

    def __init__(self) -> None:
        self.project = f"aoi-test-{secrets.token_hex(4)}"
        self.gateway_port = free_port()
        self.endpoint_port = free_port()
        self.variables = {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": str(COMPOSE / "compose.yaml"),
            # Nothing that somebody set for a stack of their own.
            "COMPOSE_DISABLE_ENV_FILE": "true",
            "AOI_IMAGE": f"{self.project}:latest",
            "PUBLISH_GATEWAY": f"{_LOOPBACK}:{self.gateway_port}",
            "PUBLISH_ENDPOINT": f"{_LOOPBACK}:{self.endpoint_port}",
            "PUBLISH_AMQP": f"{_LOOPBACK}:{free_port()}",
            "PUBLISH_MANAGEMENT": f"{_LOOPBACK}:{free_port()}",
            **_given(),
        }
        # Compose puts this label on containers, networks, volumes and images of its own making.
        self._label = f"com.docker.compose.project={self.project}"
        self._lease = Lease(self._label)

    @property
    def gateway(self) -> str:
        """Where devices connect."""
        return f"ws://{_LOOPBACK}:{self.gateway_port}/aoi"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """This process's environment, without its own AOI settings, with those of the project."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AOI_", "COMPOSE_", "PUBLISH_", "SETTINGS_"))
        }
        return inherited | self.variables | dict(more or {})

    def compose(
        self, *arguments: str, within: float = WITHIN, more: Mapping[str, str] | None = None
    ) -> str:
        """Run `docker compose`; what it printed. Raises AssertionError with its complaint."""
        # If this process is killed, the command goes on for a moment, with the lease.
        return run(
            *("docker", "compose", *arguments),
            within=within,
            environment=self.environment(more),
            pass_fds=[self._lease.fileno()],
        )

    def up(self, *arguments: str, more: Mapping[str, str] | None = None) -> None:
        """Bring everything up, and return when everything is healthy."""
        try:
            self.compose("up", "--detach", "--wait", *arguments, more=more)
        except AssertionError as error:
            logs = self.compose("logs", "--no-color", "--tail", "40")
            raise AssertionError(f"{error}\n{logs}") from None

    def remove(self) -> None:
        """Take everything away that this project made, and see that nothing of it is left."""
        try:
            self.compose(*_EVERY_PROFILE, "down", "--volumes", "--remove-orphans")
            run("docker", "image", "rm", "--force", self.variables["AOI_IMAGE"])
            of_project = ("--quiet", "--filter", f"label={self._label}")
            left = {
                "containers": run("docker", "ps", "--all", *of_project).split(),
                "volumes": run("docker", "volume", "ls", *of_project).split(),
                "networks": run("docker", "network", "ls", *of_project).split(),
            }
            assert not any(left.values()), f"left behind: {left}"
            self._lease.settle()
        finally:
            self._lease.give_up()

    def containers(self) -> dict[str, list[dict[str, Any]]]:
        """What the engine says of each container, by service."""
        found = self.compose(*_EVERY_PROFILE, "ps", "--all", "--quiet").split()
        services: dict[str, list[dict[str, Any]]] = {}
        for details in json.loads(run("docker", "inspect", *found)):
            service = details["Config"]["Labels"]["com.docker.compose.service"]
            services.setdefault(service, []).append(details)
        return services

    def url(self, name: str) -> str:
        """Where an Application Server logs in, as the documentation says to ask."""
        return self.compose("run", "--rm", "credentials", "url", name).strip()

    def passwords(self) -> dict[str, str]:
        """Every password, read as the one user who may."""
        command = ("run", "--rm", "--entrypoint", "cat", "credentials", "/run/aoi/passwords.json")
        return dict(json.loads(self.compose(*command)))

    def consumers(self, queue: str) -> int:
        """How many consumers a queue of the broker has now (its statistics lag behind)."""
        listed = self.compose(
            *("exec", "-T", "rabbitmq", "rabbitmqctl", "--quiet", "--formatter", "json"),
            *("list_consumers", "--vhost", "aoi"),
        )
        return sum(consumer["queue_name"] == queue for consumer in json.loads(listed))


def _given() -> dict[str, str]:
    """Images and certificates, where this machine has others than the compose file's own."""
    found: dict[str, str] = {}
    for part in ("RABBITMQ", "POSTGRES", "PYTHON"):
        if image := os.environ.get(f"AOI_TEST_{part}_IMAGE"):
            found[f"AOI_{part}_IMAGE"] = image
    found["AOI_PROXY_IMAGE"] = os.environ["AOI_TEST_PROXIES_IMAGE"]
    named = (os.environ.get(name) for name in _BUNDLES)
    if bundle := next(
        (each for each in (*named, _SYSTEM_BUNDLE) if each and Path(each).is_file()), None
    ):
        found["AOI_CA_BUNDLE"] = bundle
    return found


def run(
    *command: str,
    within: float = WITHIN,
    environment: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
    given: str | None = None,
) -> str:
    """Run a command with ``given`` on its standard input; what it printed. AssertionError."""
    done = subprocess.run(  # noqa: S603 - commands of this folder's tests
        command,
        input=given,
        capture_output=True,
        text=True,
        timeout=within,
        env=environment,
        pass_fds=pass_fds,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-4000:]}"
    return done.stdout
