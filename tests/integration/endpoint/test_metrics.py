"""The metrics of an endpoint."""

from __future__ import annotations

from tests.integration.endpoint.server_under_test import ServerUnderTest
from tests.support.counts import counted, value


async def test_requests_are_counted_by_their_answers(server: ServerUnderTest) -> None:
    """Both interfaces, each status, and what is refused before its head is complete; a path or a
    method that a sender made up is no label.
    """
    metrics = server.system.installation.metrics
    device = await server.system.device()
    body = {"tokens": [device.token], "content": {"data": "x"}}
    assert (await server.api("POST", json=body)).status == 202
    assert (await server.api("GET", "/never-sent")).status == 404
    assert (await server.push("k1.forged")).status == 404
    assert b"400" in await server.raw(b"nonsense\r\n\r\n")
    assert (await server.ask("PATCH", "/v1/coffee")).status == 404
    requests = "aoi_endpoint_requests_total"
    for api, method, status in (
        ("json", "POST", "202"),
        ("json", "GET", "404"),
        ("webpush", "POST", "404"),
        ("other", "other", "400"),
        ("json", "other", "404"),
    ):
        await counted(metrics, 1, requests, api=api, method=method, status=status)
    await counted(metrics, 3, "aoi_endpoint_request_seconds_count", api="json")
    assert value(metrics, "aoi_endpoint_requests_waiting") == 0
    # A token that was refused is part of an answer that accepts.
    await counted(metrics, 2, "aoi_requests_total", request="notification.send", code="ok")
