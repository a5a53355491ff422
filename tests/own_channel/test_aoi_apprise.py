"""The channel passes the suite that ships, and delivers what senders send."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aoi_apprise import Settings, plugin

from aoi_events.channels import ChallengeItem, ChannelPlugin, Parameters
from aoi_events.client import ChannelOffer
from aoi_events.testing import AoiServer
from aoi_events.testing.conformance import (
    ChannelSuite,
    Offers,
    PluginSuite,
    Provider,
    ProviderAnswer,
    Told,
    Work,
    told_of,
)

SAFE: Parameters = {"service": "chat", "target": "ann"}


class Service:
    """What stands behind a URL of Apprise: it takes texts, and refuses some."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.statuses: deque[int] = deque()
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def come_back(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application()
        app.router.add_post("/{target}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def go_down(self) -> None:
        """Take no connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.texts.append((await request.json())["message"])
        return web.Response(status=self.statuses.popleft() if self.statuses else 200)


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    """A service that is up."""
    service = Service()
    await service.come_back()
    yield service
    await service.go_down()


def settings_of(service: Service) -> dict[str, Any]:
    """Settings that offer it as ``chat``."""
    return {"services": {"chat": f"json://127.0.0.1:{service.port}/{{target}}"}}


@dataclass
class Chat(Provider):
    says = frozenset({ProviderAnswer.TAKEN, ProviderAnswer.REFUSED})

    service: Service = field(kw_only=True)

    def script(self, *answers: ProviderAnswer) -> None:
        self.service.statuses.extend(
            500 if each is ProviderAnswer.REFUSED else 200 for each in answers
        )

    def arrived(self) -> list[Told]:
        return [(text,) for text in self.service.texts]

    def expects(self, item: Work) -> Told:
        if isinstance(item, ChallengeItem):
            return (f"Your code is {item.code}",)
        if item.wake_up:
            return ("There is a notification for you.",)
        return (told_of(item)[-1],)

    async def go_down(self) -> None:
        await self.service.go_down()

    async def come_back(self) -> None:
        await self.service.come_back()


class TestPlugin(PluginSuite):
    @pytest.fixture
    def plugin(self) -> ChannelPlugin:
        return plugin

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings.model_validate({"services": {"chat": "json://127.0.0.1/{target}"}})

    @pytest.fixture
    def offers(self) -> Offers:
        return Offers(
            good=[SAFE, {"service": "chat", "target": "ann@example-1_2"}],
            bad=[
                ({}, "parameters.service"),
                ({"service": "chat"}, "parameters.target"),
                ({**SAFE, "service": "none-of-ours"}, "parameters.service"),
                ({**SAFE, "target": "../ann"}, "parameters.target"),
                ({**SAFE, "target": 5}, "parameters.target"),
                ({**SAFE, "url": "json://10.0.0.1"}, "parameters.url"),
            ],
        )


class TestChannel(ChannelSuite):
    @pytest_asyncio.fixture
    async def provider(self, service: Service) -> AsyncIterator[Provider]:
        settings = Settings.model_validate(settings_of(service))
        provider = Chat(
            plugin, settings, [{**SAFE, "target": each} for each in "abc"], service=service
        )
        yield provider
        await provider.close()


@pytest.fixture
def aoi_settings(service: Service) -> Mapping[str, Any]:
    """An AOI Server that offers it."""
    return {"channels": {"apprise": settings_of(service)}}


@pytest.mark.asyncio
async def test_a_person_gets_what_a_device_misses(aoi: AoiServer, service: Service) -> None:
    """The address is proved by a code that a person reads; then what the device does not take ends
    there, reported as delivered by the provider.
    """
    phone = await aoi.device("phone", apps=["org.example.mail"], sms=False)
    await phone.offer(*phone.offers, ChannelOffer(type="apprise", parameters=SAFE))
    await aoi.wait_for(lambda: service.texts, within=20.0)
    code = service.texts[0].removeprefix("Your code is ")
    await phone.client.confirm("apprise", code)
    await phone.ready("websocket", "apprise")
    phone.cut()
    shop = await aoi.publisher("shop")
    sent = await shop.send(phone.app.last_token, "Your parcel is here")
    [status] = await aoi.wait_for.state(sent.notification, "delivered", within=45.0)
    assert (status.by, service.texts[1:]) == ("provider", ["Your parcel is here"])
    assert json.dumps(service.texts).count("parcel") == 1
