"""The log of the client shows no secret, token, code or content."""

from __future__ import annotations

import json
import logging

import pytest

from aoi_events.client import (
    MemoryStorage,
    Notification,
)
from aoi_events.contracts.device import HelloFrame
from aoi_events.oma_push.payload import ChallengePush, encode
from aoi_events.testing.scripted_client import ScriptedSms
from tests.integration.client.apps import BOTH, MAIL, Inbox
from tests.integration.client.conftest import StartDevice
from tests.support.scripted_server import ScriptedServer


async def test_secrets_and_tokens_are_not_logged(
    server: ScriptedServer, start_device: StartDevice, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a client logs, at the lowest level, shows no secret, token, code or content."""
    caplog.set_level(logging.DEBUG)
    storage = MemoryStorage()
    sms = ScriptedSms()
    server.unproved = {"sms"}
    client = await start_device(storage=storage, sms=sms, offers=BOTH)

    async def broken(_: Notification) -> None:
        raise ValueError("a bug in the app")

    app = await client.register_application(MAIL, broken)
    sms.receive(*encode(ChallengePush("K3Y9AB"), transaction_id=1))
    await client.until_channels({"sms"})
    await server.notify(1, app.token, "private words")
    await server.acks(1)
    # With tracebacks, as handlers print them, and with every field.
    text = caplog.text + repr([vars(record) for record in caplog.records])
    assert "NotificationReceived" in text
    secret = server.sent(HelloFrame)[0].secret
    for hidden in (secret, app.token, "K3Y9AB", "private words", "+15550100"):
        assert hidden not in text


async def test_a_server_that_fails_is_logged_without_secrets(
    server: ScriptedServer, start_device: StartDevice, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that does not answer, refuses with what it was sent, or sends frames that cannot be
    read, brings no secret, token, code or content into the log.
    """
    caplog.set_level(logging.DEBUG)
    sms = ScriptedSms()
    server.unproved = {"sms"}
    server.mute = {"channel.confirm"}
    client = await start_device(sms=sms, offers=BOTH, answer_within=0.1)
    app = await client.register_application(MAIL, Inbox())
    sms.receive(*encode(ChallengePush("K3Y9AB"), transaction_id=1))
    secret = server.sent(HelloFrame)[0].secret
    await server.until(lambda: len(server.requests("channel.confirm")) > 1)
    server.mute.clear()
    await client.until_channels({"sms"})
    for wrong in ({"type": "notification", "token": app.token, "content": "private words"}, secret):
        await client.until_connected()
        await server.send_text(json.dumps(wrong))
        await client.until_disconnected()
    text = caplog.text + repr([vars(record) for record in caplog.records])
    assert "cannot be read" in text
    hidden = (secret, app.token, "K3Y9AB", "private words", "+15550100")
    assert [each for each in hidden if each in text] == []
