"""The endpoint conforms to its OpenAPI document for generated requests (schemathesis)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks
from schemathesis.core.result import Ok

from aoi_events.endpoint.openapi import openapi
from tests.integration.endpoint.conftest import OpenServer

# A token or an ID that the document allows may still be nobody's.
UNFIT = ("positive_data_acceptance", "missing_required_header")


@pytest.mark.timeout(600)
async def test_every_answer_is_as_the_document_says(
    open_server: OpenServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Valid and broken requests of every operation, with a good key and without any: a status, a
    type and a body that the document names; no fault of ours, and nothing is parked.
    """
    server = await open_server(
        endpoint={"address_burst": 1_000_000, "sender_burst": 1_000_000, "keep_alive": 5}
    )
    device = await server.system.device()
    keys = [{}, {"Authorization": f"Bearer {server.api_key()}"}]

    def explore() -> int:
        load_all_checks()
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        checks = schemathesis.checks.CHECKS.get_all()
        excluded = [check for check in checks if check.__name__ in UNFIT]
        count = 0

        def ask(case: Any, headers: dict[str, str]) -> None:
            nonlocal count
            count += 1
            if count % 3 == 0 and "token" in (case.path_parameters or {}):
                case.path_parameters["token"] = device.token
            case.call_and_validate(base_url=server.url, headers=headers, excluded_checks=excluded)

        for found in schema.get_all_operations():
            assert isinstance(found, Ok)
            operation: Any = found.ok()
            for headers in keys:
                explored = given(case=operation.as_strategy(), headers=st.just(headers))(ask)
                settings(
                    max_examples=25,
                    deadline=None,
                    phases=[Phase.explicit, Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )(explored)()
        return count

    assert await asyncio.to_thread(explore) > 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert await server.system.parked() == []


async def test_the_document_is_served(open_server: OpenServer) -> None:
    """It names the endpoint as the world reaches it."""
    server = await open_server(endpoint={"public_url": "https://push.example.org:443/"})
    assert (await server.ask("GET", "/openapi.json")).json == openapi("https://push.example.org")
