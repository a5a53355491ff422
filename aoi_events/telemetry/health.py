"""The health server of a process.

``/livez`` answers while the process runs, ``/readyz`` says whether it can do its work, and
``/metrics`` exposes its metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from aoi_events.platform.sockets import cannot_listen, dual_stack, is_every_address

Check = Callable[[], Awaitable[bool]]
"""Whether one part that the work needs answers now."""

Exposition = Callable[[str], tuple[bytes, str]]
"""From a request's ``Accept`` header to all metrics in a format it accepts, and the media type."""

_WITHIN: Final = 3.0


class HealthServer:
    """Serves health and metrics over HTTP.

    ``/readyz`` answers 200 or 503 with ``{"ok": …, "checks": {name: …}}``; a check may take 3 s.
    ``notes`` are texts for people beside the checks; they do not change the status.
    """

    def __init__(
        self,
        host: str,
        port: int,
        checks: Mapping[str, Check],
        *,
        metrics: Exposition,
        notes: Callable[[], Mapping[str, str]],
    ) -> None:
        self._host = host
        self._port = port
        self._checks = checks
        self._metrics = metrics
        self._notes = notes
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The TCP port that the server listens on, after :meth:`start`."""
        addresses = self._runner.addresses if self._runner is not None else []
        return int(addresses[0][1]) if addresses else self._port

    async def start(self) -> None:
        """Listen. Raises ConfigurationError where the address cannot be used."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/livez", self._live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._show)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            if is_every_address(self._host):
                await web.SockSite(self._runner, dual_stack(self._port)).start()
            else:
                await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise cannot_listen(error, self._host, self._port, "AOI_HEALTH") from None

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _show(self, request: web.Request) -> web.Response:
        accepted = request.headers.getall("Accept", [])
        body, content_type = self._metrics(",".join(accepted))
        response = web.Response(body=body, headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    async def _ready(self, _request: web.Request) -> web.Response:
        results = dict(
            zip(
                self._checks,
                await asyncio.gather(*(_answered(check) for check in self._checks.values())),
                strict=True,
            )
        )
        ok = all(results.values())
        body: dict[str, object] = {"ok": ok, "checks": results}
        if notes := self._notes():
            body["notes"] = dict(notes)
        return web.json_response(body, status=200 if ok else 503)


async def _answered(check: Check) -> bool:
    try:
        async with asyncio.timeout(_WITHIN):
            return await check()
    except TimeoutError:
        return False
