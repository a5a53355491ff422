"""Workers as processes with an endpoint that speaks TLS, a web site, and a Firefox that calls only
them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from aoi_events.testing.ports import free_port
from tests.acceptance.browser.bidi import Page
from tests.acceptance.browser.firefox import PUSH, Firefox, Outside
from tests.acceptance.browser.site import site
from tests.acceptance.server_under_test import ServerUnderTest
from tests.support.certificates import self_signed
from tests.support.processes import Workers

KINDS: Final = (
    "registration",
    "activation",
    "notification",
    "gateway-1",
    "endpoint",
    "outcome",
    "deadlines",
)


@dataclass
class Visitor:
    """A person with a Firefox, at a web site that pushes."""

    firefox: Firefox
    outside: Outside
    url: str

    @asynccontextmanager
    async def visiting(self) -> AsyncIterator[Page]:
        """The browser runs, and shows the page."""
        async with self.firefox.running() as page:
            await page.open(self.url)
            yield page


@dataclass
class Service:
    """The push service."""

    workers: Workers
    authority: Path
    """The certificate that vouches for its endpoint."""


async def subscribed(page: Page, key: str | None) -> dict[str, Any]:
    """The page's subscription, once it has one."""
    subscription: dict[str, Any] = json.loads(await page.call("subscribe", key))
    return subscription


async def received(page: Page, count: int) -> list[str]:
    """What the service worker got, oldest first, once there are so many."""
    texts: list[str] = json.loads(await page.call("received", count))
    return texts


@pytest.fixture
def more() -> Mapping[str, str]:
    """Settings of a test's own, as it parametrizes them."""
    return {}


@pytest.fixture
async def service(
    server: ServerUnderTest, tmp_path: Path, more: Mapping[str, str]
) -> AsyncIterator[Service]:
    """Every worker that Web Push needs, as a process, on RabbitMQ and PostgreSQL."""
    certificate, port = self_signed(tmp_path), free_port()
    public = {"AOI_ENDPOINT__PUBLIC_URL": f"https://localhost:{port}"}
    special = {
        "gateway-1": {
            "AOI_BROKER": server.broker("aoi-gateway"),
            "AOI_GATEWAY__PORT": str(server.ports[0]),
        },
        "endpoint": {
            "AOI_BROKER": server.broker("aoi-endpoint"),
            "AOI_ENDPOINT__PORT": str(port),
            "AOI_ENDPOINT__CERTIFICATE": str(certificate),
        },
    }
    environment = {**server.environment, **public, **more}
    async with Workers(KINDS, environment, special=special, forked=True) as workers:
        yield Service(workers, certificate)


@pytest.fixture
async def visitor(
    server: ServerUnderTest, service: Service, tmp_path: Path
) -> AsyncIterator[Visitor]:
    """A Firefox with an empty profile; it must ask nobody but us for anything."""
    async with Outside().listening() as outside, site() as url:
        push = {**PUSH, "dom.push.serverURL": server.gateways[0]}
        firefox = Firefox(tmp_path / "profile", push=push, outside=outside)
        yield Visitor(firefox, outside, url)
        assert outside.asked == [], "Firefox called somebody outside"
