"""The web site whose page subscribes; it is there while browsers come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

_PAGE: Final = Path(__file__).parent / "page"


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """The URL of the page, on loopback, where browsers allow service workers without TLS."""
    application = web.Application()
    application.router.add_static("/", _PAGE)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/index.html"
    finally:
        await runner.cleanup()
