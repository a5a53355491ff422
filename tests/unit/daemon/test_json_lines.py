"""Lines of the app protocol: every line is a valid request, or refused with a stable code."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.contracts.apps import APP_REQUESTS, AppRequestFailed, AttachV1, RegisterAppV1
from aoi_events.daemon.app_connection import AppConnection
from aoi_events.daemon.json_lines import decode_request
from aoi_events.errors import ErrorCode, Refusal
from tests.support.limits import WITHIN
from tests.support.strategies_of_contracts import json_values, values_of


@given(line=st.binary(max_size=200))
def test_any_octets(line: bytes) -> None:
    """Octets are refused, and never raise anything else."""
    with pytest.raises(Refusal):
        decode_request(line)


@given(value=st.dictionaries(st.sampled_from(["version", "type", "application"]), json_values()))
def test_any_object(value: dict[str, Any]) -> None:
    """An object with known names and any values is a request, or is refused."""
    try:
        request = decode_request(json.dumps(value).encode())
    except Refusal:
        return
    assert type(request) in APP_REQUESTS.values()


@pytest.mark.parametrize("kind", APP_REQUESTS)
@given(data=st.data())
def test_every_request_is_read(kind: str, data: st.DataObject) -> None:
    """Every request that the schema allows is read as its type."""
    model = APP_REQUESTS[kind]
    value = {**data.draw(values_of(model)), "type": kind}
    request = decode_request(json.dumps(value).encode())
    assert type(request) is model
    assert decode_request(request.encode()) == request


@pytest.mark.parametrize(
    "value, code, field",
    [
        ({"type": "attach"}, "version_unsupported", "version"),
        ({"version": 1}, "unknown_request", "type"),
        ({"version": 1, "type": "attach"}, "invalid", "application"),
        ({"version": 1, "type": "attach", "application": "a/b"}, "invalid", "application"),
        ({"version": 1, "type": "register", "application": "a", "wait": 61}, "invalid", "wait"),
        (
            {"version": 1, "type": "register", "application": "a", "command": ["a", "b\0"]},
            "invalid",
            "command.1",
        ),
        (
            {"version": 1, "type": "register", "application": "a", "command": ["x" * 2000] * 3},
            "invalid",
            "command",
        ),
    ],
)
def test_refusals_help(value: dict[str, Any], code: str, field: str) -> None:
    """The code, and which field to look at."""
    with pytest.raises(Refusal) as refused:
        decode_request(json.dumps(value).encode())
    assert (refused.value.code, refused.value.field) == (code, field)


def test_defaults() -> None:
    """Instance and command are optional."""
    attach = decode_request(b'{"version": 1, "type": "attach", "application": "a"}')
    assert attach == AttachV1(version=1, application="a", instance="default")
    register = decode_request(b'{"version": 1, "type": "register", "application": "a"}')
    assert isinstance(register, RegisterAppV1)
    assert (register.command, register.owner, register.wait) == (None, None, 0.0)


async def test_who_is_refused_while_it_speaks_reads_why(tmp_path: Path) -> None:
    """A peer that is refused before it has sent anything can still send, and then read why."""
    refused, closed = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = AppConnection(reader, writer)
        refused.set()
        await connection.send_last(AppRequestFailed(code=ErrorCode.NOT_ALLOWED, message="not you"))
        await connection.closed()
        closed.set()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_unix_server(serve, tmp_path / "socket")
    async with asyncio.timeout(WITHIN):
        with socket.socket(socket.AF_UNIX) as app:
            app.setblocking(False)
            await loop.sock_connect(app, str(tmp_path / "socket"))
            await refused.wait()
            why = await loop.sock_recv(app, 65_536)
            for _ in range(3):
                await loop.sock_sendall(app, b"x" * 1_000)
            assert json.loads(why)["code"] == "not_allowed"
            assert await loop.sock_recv(app, 1) == b""
        await closed.wait()
    server.close()
    await server.wait_closed()
