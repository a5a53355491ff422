"""What the documentation tells a person with a Firefox of their own, as it stands there."""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aoi_events.testing.ports import free_port
from tests.acceptance.browser.conftest import received, subscribed
from tests.acceptance.browser.firefox import Firefox, Outside
from tests.acceptance.browser.senders import PythonSender
from tests.acceptance.browser.site import site
from tests.support.pages import block
from tests.support.processes import Workers

PORT = 8090


def preferences(port: int) -> dict[str, Any]:
    """The lines of the page, with the gateway's port of this test."""
    shown = block("docs/how-to/firefox.md", "js")
    values = re.findall(r"^user_pref\((.*)\);$", shown, re.MULTILINE)
    assert len(values) == len(shown.splitlines()) == 3
    said = dict(json.loads(f"[{value}]") for value in values)
    assert said["dom.push.serverURL"] == f"ws://localhost:{PORT}/aoi"
    return {**said, "dom.push.serverURL": f"ws://localhost:{port}/aoi"}


@pytest.mark.containers
@pytest.mark.timeout(600)
async def test_three_lines_and_aoi_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``aoi up`` as it is, but for its ports; a page subscribes, and gets what anybody sends."""
    monkeypatch.chdir(tmp_path)
    gateway, endpoint = free_port(), free_port()
    settings = {
        "AOI_GATEWAY__PORT": str(gateway),
        "AOI_ENDPOINT__PORT": str(endpoint),
        "AOI_HEALTH__PORT": "0",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(Workers([], settings))
        up = await workers.spawn("up", launcher="aoi_events.cli", arguments=["up"])
        await up.until_logged("started")
        outside = await stack.enter_async_context(Outside().listening())
        url = await stack.enter_async_context(site())
        firefox = Firefox(tmp_path / "profile", push=preferences(gateway), outside=outside)
        page = await stack.enter_async_context(firefox.running())
        await page.open(url)
        await page.call("allowed")
        subscription = await subscribed(page, None)
        assert subscription["endpoint"].startswith(f"http://localhost:{endpoint}/wpush/v1/")
        # As `curl -X POST -H 'TTL: 60' ENDPOINT` does it.
        async with (
            aiohttp.ClientSession() as session,
            session.post(subscription["endpoint"], headers={"TTL": "60"}) as response,
        ):
            assert response.status == 201
        assert await received(page, 1) == ["(nothing)"]
        assert (await PythonSender(None).send(subscription, "something")).status == 201
        assert await received(page, 2) == ["(nothing)", "something"]
        assert outside.asked == []
