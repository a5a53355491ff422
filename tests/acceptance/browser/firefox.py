"""A headless Firefox with a profile of its own, whose push service is ours and that calls nobody.

Everything but loopback goes to a proxy of ours, which notes who was asked for and refuses.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.acceptance.browser.bidi import Page, connected
from tests.support.limits import WITHIN

_LISTENS: Final = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_PROGRAMS: Final = ("firefox-esr", "firefox")

PUSH: Final[Mapping[str, Any]] = {
    "dom.push.testing.allowInsecureServerURL": True,
    "permissions.default.desktop-notification": 1,
}
"""Our push service, which has no TLS on loopback, and the permission to show notifications."""
_TESTED: Final[Mapping[str, Any]] = {
    # What else whoever drives a browser is recommended turns the push service off.
    "remote.prefs.recommended": False,
    # Nobody shows notifications where there is no desktop.
    "alerts.useSystemBackend": False,
    "dom.push.retryBaseInterval": 500,
    "dom.push.loglevel": "debug",
    "devtools.console.stdout.chrome": True,
}
_QUIET: Final[Mapping[str, Any]] = {
    # First run, updates, and whatever else speaks to the outside by itself.
    "app.update.disabledForTesting": True,
    "app.normandy.enabled": False,
    "app.shield.optoutstudies.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.discovery.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.newtabpage.activity-stream.feeds.section.topstories": False,
    "browser.newtabpage.activity-stream.feeds.topsites": False,
    "browser.newtabpage.activity-stream.asrouter.providers.snippets": "",
    "browser.ping-centre.telemetry": False,
    "browser.region.network.url": "",
    "browser.region.update.enabled": False,
    "browser.safebrowsing.blockedURIs.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.safebrowsing.provider.mozilla.updateURL": "",
    "browser.search.update": False,
    "browser.search.suggest.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage": "about:blank",
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "browser.topsites.contile.enabled": False,
    "browser.uitour.enabled": False,
    "captivedetect.canonicalURL": "",
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.usage.uploadEnabled": False,
    "dom.security.https_first": False,
    "extensions.blocklist.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "extensions.formautofill.addresses.supported": "off",
    "geo.enabled": False,
    "identity.fxaccounts.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "media.gmp-provider.enabled": False,
    "messaging-system.rsexperimentloader.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.http.speculative-parallel-limit": 0,
    "network.prefetch-next": False,
    "network.trr.mode": 5,
    "security.OCSP.enabled": 0,
    "security.remote_settings.crlite_filters.enabled": False,
    "security.remote_settings.intermediates.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "services.sync.enabled": False,
    "signon.firefoxRelay.feature": "disabled",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "data:,",
    "toolkit.telemetry.unified": False,
}


class Outside:
    """The proxy for everything that is not loopback; ``asked`` says who was asked for."""

    def __init__(self) -> None:
        self.asked: Final[list[str]] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Outside]:
        """Listen on loopback."""
        server = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        self.asked.append(line.decode(errors="replace").strip())
        writer.close()


class Firefox:
    """A browser that can be closed and started again; its profile stays.

    ``push`` are the preferences that make ours its push service.
    """

    def __init__(self, profile: Path, *, push: Mapping[str, Any], outside: Outside) -> None:
        self._profile = profile
        self._log = profile.with_suffix(".log")
        proxy = {
            "network.proxy.type": 1,
            "network.proxy.http": "127.0.0.1",
            "network.proxy.http_port": outside.port,
            "network.proxy.ssl": "127.0.0.1",
            "network.proxy.ssl_port": outside.port,
            "network.proxy.no_proxies_on": "localhost, 127.0.0.1",
            "network.proxy.failover_direct": False,
        }
        profile.mkdir(parents=True)
        preferences = {**_QUIET, **_TESTED, **proxy, **push}
        text = "".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in preferences.items()
        )
        (profile / "user.js").write_text(text)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Page]:
        """Started, with one empty tab; closed in the end as a person closes it."""
        process = await self._start()
        try:
            url = await self._url(process)
            reading = asyncio.create_task(self._keep_log(process))
            try:
                async with connected(f"{url}/session") as page:
                    yield page
                    await page.quit()
                async with asyncio.timeout(WITHIN):
                    await process.wait()
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _start(self) -> Process:
        program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
        assert program is not None, "there is no Firefox: run compose/firefox, it installs one"
        return await asyncio.create_subprocess_exec(
            program,
            *("--headless", "--no-remote", "--new-instance", "--profile", str(self._profile)),
            *("--remote-debugging-port", "0", "about:blank"),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._profile),
                "MOZ_CRASHREPORTER_DISABLE": "1",
                "MOZ_DISABLE_NONLOCAL_CONNECTIONS": "1",
                "MOZ_DISABLE_CONTENT_SANDBOX": "1",
            },
        )

    async def _url(self, process: Process) -> str:
        assert process.stdout is not None
        said = b""
        async with asyncio.timeout(WITHIN):
            while line := await process.stdout.readline():
                said += line
                if found := _LISTENS.search(line.decode(errors="replace")):
                    return found[1]
        raise AssertionError(f"Firefox did not start: {said.decode(errors='replace')[-2000:]}")

    async def _keep_log(self, process: Process) -> None:
        assert process.stdout is not None
        with self._log.open("ab") as log:
            while line := await process.stdout.readline():
                log.write(line)
                log.flush()
