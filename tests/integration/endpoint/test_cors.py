"""Pages of any origin push and withdraw messages, as with Mozilla's push service (CORS)."""

from __future__ import annotations

import pytest

from tests.integration.endpoint.server_under_test import AES128GCM, Sender, ServerUnderTest

ORIGIN = {"Origin": "https://page.example.org"}
ANY_ORIGIN = "Access-Control-Allow-Origin"


def names(value: str) -> set[str]:
    """The names in a list, in lower case."""
    return {name.strip().lower() for name in value.split(",")}


@pytest.mark.parametrize(
    "path,method", [("/wpush/v1/k1.x", "POST"), (f"/message/wp-{'0' * 32}", "DELETE")]
)
async def test_a_preflight_allows_what_a_push_needs(
    server: ServerUnderTest, path: str, method: str
) -> None:
    """The browser's question before a push or a withdrawal is answered for any origin."""
    asked = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-encoding,ttl",
    }
    reply = await server.ask("OPTIONS", path, headers=ORIGIN | asked)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers[ANY_ORIGIN] == "*"
    assert reply.headers["Access-Control-Allow-Methods"] == method
    assert names(reply.headers["Allow"]) == {method.lower(), "options"}
    assert names(reply.headers["Access-Control-Allow-Headers"]) >= {
        "authorization",
        "content-encoding",
        "content-type",
        "crypto-key",
        "encryption",
        "prefer",
        "ttl",
        "topic",
        "urgency",
    }
    assert int(reply.headers["Access-Control-Max-Age"]) > 0


async def test_a_page_reads_the_message_url_and_withdraws(server: ServerUnderTest) -> None:
    """The answers to a push and to its withdrawal are for any origin, with the headers."""
    device = await server.system.device()
    pushed = await server.push(device.token, **ORIGIN)
    assert (pushed.status, pushed.headers[ANY_ORIGIN]) == (201, "*")
    assert {"location", "ttl"} <= names(pushed.headers["Access-Control-Expose-Headers"])
    withdrawn = await server.ask("DELETE", pushed.headers["Location"], headers=ORIGIN)
    assert (withdrawn.status, withdrawn.headers[ANY_ORIGIN]) == (204, "*")


async def test_a_page_reads_refusals(server: ServerUnderTest) -> None:
    """A page learns why a push was refused: 400, 401, 403, 404, 405 and 413."""
    device = await server.system.client()
    await device.register_app("webpush", sender_key=Sender().key)
    replies = [
        await server.push(device.token, ttl=None, **ORIGIN),
        await server.push(device.token, **ORIGIN),
        await server.push(device.token, **ORIGIN, **server.vapid(Sender())),
        await server.ask("DELETE", "/message/x", headers=ORIGIN),
        await server.ask("PUT", "/message/x", headers=ORIGIN),
        await server.push(device.token, b"x" * 5_000, **ORIGIN),
    ]
    assert [reply.status for reply in replies] == [400, 401, 403, 404, 405, 413]
    assert all(reply.headers[ANY_ORIGIN] == "*" for reply in replies)


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "GET"])
async def test_the_json_api_is_not_for_pages(server: ServerUnderTest, method: str) -> None:
    """An API key does not belong into a page, so the JSON API allows no other origin."""
    reply = await server.ask(method, "/v1/notifications", headers=ORIGIN | AES128GCM, data=b"{}")
    assert ANY_ORIGIN not in reply.headers
