"""The AOI Client library asks for tokens that one sender only may use, of a whole server."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.client import AoiClient, MemoryStorage, Notification
from aoi_events.errors import ConfigurationError
from aoi_events.testing import AoiServer

KEY = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
"""The public key of RFC 8292, section 2.4."""
MAIL = "org.example.mail"


async def test_a_token_for_one_sender_takes_nothing_of_others(aoi: AoiServer) -> None:
    """Bound to a VAPID key it is another token, and a sender without that key is refused."""
    shop = await aoi.publisher()
    inbox: asyncio.Queue[Notification] = asyncio.Queue()
    client = AoiClient(
        aoi.gateway_url, storage=MemoryStorage(), device="phone", identity="tel:+15550100"
    )
    async with client:
        app = await client.register_application(MAIL, inbox.put)
        await client.until_channels({"websocket"})
        anybodys = app.token
        await shop.send(anybodys, "before")
        assert (await inbox.get()).content.data == "before"
        app = await client.register_application(MAIL, inbox.put, sender_key=KEY + "=")
        assert app.token != anybodys
        for token, code in ((anybodys, "token_revoked"), (app.token, "not_allowed")):
            answer = await shop.send(token, "after")
            assert [each.code for each in answer.rejected] == [code]
        again = await client.register_application(MAIL, inbox.put)
        assert again.token == app.token, "unnamed, it stays as it was"
        with pytest.raises(ConfigurationError, match="sender_key"):
            await client.register_application(MAIL, inbox.put, sender_key="no key")
