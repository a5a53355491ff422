"""The smallest device there is: one app, one WebSocket, acknowledges whatever comes."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets

import aiohttp

from aoi_events.contracts.device import SUBPROTOCOL
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    ChannelOffer,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.gateway.sockets.server import PATH
from aoi_events.publishing import DeviceRequests

APPLICATION = "com.example.shop"


class Device:
    """An AOI Client that registered over the broker."""

    def __init__(self, requests: DeviceRequests) -> None:
        self.requests = requests
        octets = secrets.token_bytes(32)
        self.secret = base64.urlsafe_b64encode(octets).decode().rstrip("=")
        self.secret_hash = hashlib.sha256(octets).hexdigest()
        self.client = ""
        self.token = ""
        self.received: list[str] = []

    async def register(self) -> None:
        """Get an AOI Client ID and an Application Client Token."""
        registered = await self.requests.register(
            RegisterClientV1(
                version=1, device="test", identity="+306940000000", secret_hash=self.secret_hash
            )
        )
        self.client = registered.client
        application = await self.requests.register_application(
            RegisterApplicationV1(
                version=1,
                client=self.client,
                secret=self.secret,
                application=APPLICATION,
                sequence=1,
            )
        )
        assert application.token is not None
        self.token = application.token

    async def activate(self) -> list[str]:
        """Offer the WebSocket; the types selected."""
        activated = await self.requests.activate_channels(
            ActivateChannelsV1(
                version=1,
                client=self.client,
                secret=self.secret,
                sequence=2,
                offers=(ChannelOffer(type="websocket"),),
            )
        )
        return [channel.type for channel in activated.selected]

    async def connect(self, port: int) -> None:
        """Be connected, and acknowledge notifications until cancelled."""
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}{PATH}", protocols=(SUBPROTOCOL,)) as web,
        ):
            await web.send_json({"type": "hello", "client": self.client, "secret": self.secret})
            async for message in web:
                frame = json.loads(message.data)
                if frame["type"] == "notification":
                    self.received.append(frame["content"]["data"])
                    await web.send_json(
                        {
                            "type": "ack",
                            "delivery": frame["delivery"],
                            "attempt": frame["attempt"],
                        }
                    )
