"""The HTTP client for URLs that devices name: it connects to permitted addresses only.

The client checks the address that a socket is about to be connected to, so there is no second name
look-up between check and use. aiohttp makes the sockets through `_socket`, for names and for
literal addresses alike.

With a proxy, its sockets go to the proxy, which looks names up and decides where it connects to.
Literal addresses were checked with the URL.

It follows no redirects, uses no proxies of the environment, stores no cookies, and verifies TLS.
Of an answer only the head counts, at most 128 fields of 8 KiB; a body is read to keep the
connection, as long as it is short and comes at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import AsyncResolver
from yarl import URL

from aoi_events.channels.base.http.addresses import permitted
from aoi_events.channels.base.http.progress import Progress, follow, noted, noting
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.platform.logs import get_logger
from aoi_events.platform.proxy import proxy_url
from aoi_events.platform.tls import Trust

_log = get_logger(__name__)

_IDLE: Final = 30.0
_LOOK_UP: Final = 3.0
_BODY: Final = 16 * 1024
_BODY_WITHIN: Final = 0.5
_HOST_FAILS: Final = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The head of an answer."""

    status: int
    retry_after: str | None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is no answer; ``why`` contains no address.

    ``forbidden``: nothing may be sent to the address that its name has now. ``works`` and
    ``host_works``: as of `aoi_events.channels.base.results.Verdict`.
    """

    why: str
    forbidden: bool = False
    works: bool | None = None
    host_works: bool | None = None


class _NotPermitted(OSError):
    """The address is private, or not permitted for another reason."""

    def __init__(self) -> None:
        super().__init__("not permitted")


class HttpClient:
    """Sends POST requests; create it inside a running event loop, and close it.

    ``resolver`` looks names up instead of the system's name servers. Raises ConfigurationError when
    ``ca_file`` cannot be read.
    """

    def __init__(
        self, settings: OutgoingSettings, *, resolver: AbstractResolver | None = None
    ) -> None:
        self._settings = settings
        self._closed = False
        proxy = settings.proxy
        self._proxy = None if proxy is None else proxy_url(proxy.get_secret_value())
        self._proxy_fault: str | None = None
        if proxy is not None and settings.networks:
            _log.warning("networks_bypassed", reason="the proxy looks names up; it must check them")
        self._resolver = resolver or AsyncResolver(timeout=_LOOK_UP, tries=2)
        self._trust = Trust(settings.ca_file, f"{settings.prefix}__CA_FILE")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the slots of the channel are the limit
                keepalive_timeout=_IDLE,
                use_dns_cache=False,
                resolver=self._resolver,
                socket_factory=self._socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # The time that a request may take is ours to watch. Connecting to a proxy is half of
            # it at most, and so is TLS through it.
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=None if proxy is None else settings.within / 2
            ),
            auto_decompress=False,
            trust_env=False,
            trace_configs=[noted()],
            headers={"User-Agent": "aoi-events"},
        )

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer | NoAnswer:
        """Post ``body`` to a URL from `checked_url`.

        Returns within ``settings.within`` seconds, and half a second for the body of the answer.
        """
        if self._closed:
            return NoAnswer("the worker is stopping")
        progress = Progress(plain=url.startswith("http:"), at_proxy=self._proxy is not None)
        follow(progress)
        try:
            async with asyncio.timeout(self._settings.within):
                response = await self._session.post(
                    URL(url, encoded=True),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxy,
                    ssl=noting(self._trust.tls),
                )
        except aiohttp.ConnectionTimeoutError:
            why = f"no connection within {self._settings.within / 2:g} s"
        except TimeoutError:
            why = f"no answer within {self._settings.within:g} s"
        except aiohttp.ClientHttpProxyError as error:
            return self._refused_by_proxy(error.status)
        except aiohttp.ClientConnectorDNSError:
            why = "its name has no address"
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _NotPermitted):
                return NoAnswer("its name leads to an address that is not public", forbidden=True)
            tls = isinstance(error, aiohttp.ClientSSLError)
            why = "no TLS there that can be verified" if tls else "it cannot be reached"
        except aiohttp.ClientResponseError:
            why = "an answer that is no HTTP, or too large"
        except (aiohttp.ClientError, OSError):
            why = "the connection was lost"
        else:
            async with response:
                await _discard_body(response)
            if progress.at_proxy and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                return self._refused_by_proxy(response.status)
            self._proxy_fault = None
            return HttpAnswer(response.status, response.headers.get("Retry-After"))
        if progress.at_proxy:
            return self._without_proxy(f"the proxy fails: {why}")
        return NoAnswer(why, works=progress.works, host_works=progress.host_works)

    async def close(self) -> None:
        """End every connection; idempotent."""
        if not self._closed:
            self._closed = True
            await self._session.close()
            await self._resolver.close()

    def _refused_by_proxy(self, status: int) -> NoAnswer:
        """The meaning of a refused CONNECT; a proxy is asked before it connects anywhere."""
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return self._without_proxy("the proxy refuses our user name and password")
        if status == HTTPStatus.FORBIDDEN:
            return NoAnswer("the proxy does not permit its address", forbidden=True)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return self._without_proxy(f"the proxy permits no tunnels (status {status})")
        # Proxies use the others also for faults of their own.
        host_works = False if status in _HOST_FAILS else None
        return NoAnswer(f"the proxy cannot reach it (status {status})", host_works=host_works)

    def _without_proxy(self, why: str) -> NoAnswer:
        """Nothing can be sent to anybody; the operator has to mend it."""
        if self._proxy_fault != why:
            self._proxy_fault = why
            _log.warning("proxy_failed", reason=why)
        return NoAnswer(why)

    def _socket(self, found: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = found
        if self._proxy is None and not permitted(str(address[0]), self._settings.networks):
            raise _NotPermitted
        return socket.socket(family=family, type=kind, proto=protocol)


async def _discard_body(response: aiohttp.ClientResponse) -> None:
    """Read a short body, so that the connection can be reused; else close the connection."""
    left = _BODY
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            while left > 0 and (part := await response.content.read(left)):
                left -= len(part)
    except (TimeoutError, aiohttp.ClientError, OSError):
        left = 0
    if left <= 0:
        response.close()
