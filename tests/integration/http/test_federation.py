"""Two installations: one delivers to a device over the other one's Web Push endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from aoi_events import Publisher
from aoi_events.contracts.push import PushedChallenge, PushedNotification, push_frames
from aoi_events.testing import AoiServer, FakeDevice, WaitFor
from aoi_events.testing.server import open_server
from tests.integration.http.conftest import MakeDevice
from tests.support.receivers import Subscription


@pytest.fixture
async def other(
    aoi_settings: Mapping[str, Any], aoi_empty_database: Path, tmp_path: Path
) -> AsyncIterator[AoiServer]:
    """The other installation, with a broker, a store and an endpoint of its own."""
    database = tmp_path / "other.sqlite3"
    copyfile(aoi_empty_database, database)
    settings = {
        **aoi_settings,
        "broker": "memory://aoi@other-installation",
        "store": f"sqlite:///{database}",
    }
    async with open_server(
        settings, sender_url=lambda sender: f"memory://{sender}@other-installation"
    ) as server:
        yield server


async def read(device: FakeDevice, keys: Subscription) -> Any:
    """The next push that the other installation brought, decrypted by the device."""
    content = (await device.read()).content
    assert content.encryption is not None
    assert content.encryption.coding == "aes128gcm"
    return push_frames.validate_json(keys.read(content.octets()))


async def test_a_device_of_another_installation_is_reached(
    server: AoiServer, other: AoiServer, shop: Publisher, make_device: MakeDevice, wait_for: WaitFor
) -> None:
    """Challenge and notification go from our worker webpush through the other's endpoint, workers
    and gateway to its device, which alone can read them; when its app there is gone, so is our
    channel.
    """
    browser = await other.device("browser", apps=["org.browser"], sms=False)
    keys, phone = Subscription(), await make_device()
    endpoint = f"{other.endpoint_url}/wpush/v1/{browser.token}"
    pending = await phone.selected("webpush", keys.parameters(endpoint))
    assert pending.state == "pending"
    challenge = await read(browser, keys)
    assert isinstance(challenge, PushedChallenge)
    assert (await phone.confirm("webpush", challenge.code)).state == "active"
    await shop.send(phone.token, "from afar", notification="n1", urgency="high", topic="afar")
    pushed = await read(browser, keys)
    assert isinstance(pushed, PushedNotification)
    assert pushed.content.data == "from afar"
    server.advance(6)
    await wait_for("notification.delivered", notification="n1")
    await browser.app.registration.deregister()
    await shop.send(phone.token, "to nobody", notification="n2")
    await wait_for("channel.closed", client=phone.client, channel="webpush")
    await wait_for("notification.stored", notification="n2")
