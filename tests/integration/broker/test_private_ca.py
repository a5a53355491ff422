"""``amqps://`` with the certificate of a private authority, as its page says."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

import pytest

from aoi_events.broker.open import open_broker
from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.retry import RetryPolicy
from tests.support.certificates import self_signed
from tests.support.limits import WITHIN
from tests.support.pages import block

ONCE = RetryPolicy(attempts=1)
HEADER = b"AMQP\x00\x00\x09\x01"
"""What a client says first (AMQP 0-9-1, section 4.2.2)."""


@pytest.mark.parametrize("named", [True, False])
async def test_a_private_authority_is_believed_where_the_url_names_it(
    named: bool, tmp_path: Path
) -> None:
    """With ``cafile`` as the page has it TLS is made and AMQP begins; without, nothing is said."""
    url = re.fullmatch(r'export AOI_BROKER="(.*)"\n', block("docs/how-to/private-ca.md", "sh"))
    assert url is not None
    certificate = self_signed(tmp_path)
    said: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.read(len(HEADER)))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ours = url[1].replace("rabbitmq.internal:5671", f"localhost:{port}")
        ours = ours.replace("/etc/aoi/ca.pem", str(certificate))
        assert str(certificate) in ours
        async with asyncio.timeout(WITHIN):
            with pytest.raises(BrokerUnavailable):
                await open_broker(ours if named else ours.partition("?")[0], retry_policy=ONCE)
    assert said == ([HEADER] if named else [])
