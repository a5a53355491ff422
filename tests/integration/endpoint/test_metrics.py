"""The metrics of an endpoint."""

from __future__ import annotations

from tests.integration.endpoint.server_under_test import ServerUnderTest


def value(server: ServerUnderTest, name: str, **labels: str) -> float:
    """The value of one sample; 0 where it is not there."""
    registry = server.system.installation.metrics.registry
    return registry.get_sample_value(name, labels) or 0.0


async def test_requests_are_counted_by_their_answers(server: ServerUnderTest) -> None:
    """Both interfaces, each status, and what is refused before its head is complete; a path or a
    method that a sender made up is no label.
    """
    device = await server.system.device()
    body = {"tokens": [device.token], "content": {"data": "x"}}
    assert (await server.api("POST", json=body)).status == 202
    assert (await server.api("GET", "/never-sent")).status == 404
    assert (await server.push("k1.forged")).status == 404
    assert b"400" in await server.raw(b"nonsense\r\n\r\n")
    assert (await server.ask("PATCH", "/v1/coffee")).status == 404
    counted = "aoi_endpoint_requests_total"
    for api, method, status in (
        ("json", "POST", "202"),
        ("json", "GET", "404"),
        ("webpush", "POST", "404"),
        ("other", "other", "400"),
        ("json", "other", "404"),
    ):
        assert value(server, counted, api=api, method=method, status=status) == 1
    assert value(server, "aoi_endpoint_request_seconds_count", api="json") == 3
    assert value(server, "aoi_endpoint_requests_waiting") == 0
    # A token that was refused is part of an answer that accepts.
    assert value(server, "aoi_requests_total", request="notification.send", code="ok") == 2
