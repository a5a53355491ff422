"""The device protocol ``aoi.v1`` over a WebSocket."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp import WSMsgType
from pydantic import ValidationError

from aoi_events.contracts.device import (
    MAX_FRAME,
    SUBPROTOCOL,
    DeviceFrame,
    ServerFrame,
    WelcomeFrame,
    server_frames,
)
from aoi_events.errors import ConfigurationError, ConnectionLost
from aoi_events.platform.logs import get_logger
from aoi_events.platform.printable import without_secrets
from aoi_events.platform.proxy import proxy_url
from aoi_events.platform.settings import host

_log = get_logger(__name__)

_CLOSE_WITHIN: Final = 2.0
_MISSED_PINGS: Final = 2.5
_LONGEST_SILENCE: Final = 3_600.0

T = TypeVar("T")


class WebSocketTransport:
    """Connects to ``url`` (``ws://`` or ``wss://``).

    ``connect_within`` bounds the handshake; ``answer_within`` bounds the silence before the welcome
    and the time to send a frame; both in seconds. ``proxy`` is the URL of an HTTP proxy, with its
    credentials; the proxies of the environment are not used.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_within: float = 10.0,
        answer_within: float = 15.0,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        if not _is_websocket_url(url):
            raise ConfigurationError(
                f"url {without_secrets(url)!r} is no WebSocket URL; use wss://HOST/PATH or ws://HOST:PORT/PATH"
            )
        self._url = url
        self._shown = without_secrets(url)
        self._connect_within = connect_within
        self._answer_within = answer_within
        self.tls = tls
        """For connections that are made now; None: TLS that trusts the system's certificates."""
        try:
            self._proxy = None if proxy is None else proxy_url(proxy)
        except ValueError as error:
            raise ConfigurationError(f"proxy: {error}") from None

    async def connect(self) -> WebSocketConnection:
        """An open connection. Raises ConnectionLost."""
        session = aiohttp.ClientSession()
        connecting = session.ws_connect(
            self._url,
            protocols=(SUBPROTOCOL,),
            autoping=False,
            compress=0,
            max_msg_size=MAX_FRAME + 1,
            ssl=self.tls if self.tls is not None else True,
            proxy=self._proxy,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_WITHIN),
        )
        late = f"no connection to {self._shown} within {self._connect_within:g} s; check the host"
        try:
            socket = await _in_time(connecting, "connect", self._connect_within, late, _advice)
            if socket.protocol != SUBPROTOCOL:
                raise ConnectionLost(
                    f"{self._shown} does not speak {SUBPROTOCOL}; check the host and the path"
                )
        except BaseException:
            await session.close()
            raise
        return WebSocketConnection(session, socket, self._answer_within)


class WebSocketConnection:
    """One open WebSocket; made by :class:`WebSocketTransport`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        answer_within: float,
    ) -> None:
        self._session = session
        self._socket = socket
        self._answer_within = answer_within
        self._silence: float | None = None

    async def send(self, frame: DeviceFrame) -> None:
        """Send a frame. Raises ConnectionLost, also if it cannot be sent in time."""
        await self._send(self._socket.send_str(frame.encode().decode()))

    async def receive(self) -> ServerFrame:
        """The next frame; answers pings meanwhile. Raises ConnectionLost.

        The welcome contains the ping interval of the server. After 2.5 intervals of silence the
        client pings; the connection counts as lost if nothing comes after that. Frames of an
        unknown type are skipped.
        """
        while True:
            message = await self._message()
            if message.type is WSMsgType.TEXT:
                frame = _read(message.data)
                if isinstance(frame, WelcomeFrame):
                    self._silence = _silence(frame.ping_every, self._answer_within)
                if frame is not None:
                    return frame
            elif message.type is WSMsgType.PING:
                await self._send(self._socket.pong(message.data))
            elif message.type is not WSMsgType.PONG:
                raise self._end(message)

    async def close(self) -> None:
        """Close the connection; wait at most two seconds for the server."""
        try:
            await self._socket.close()
        except (aiohttp.ClientError, OSError) as error:
            _log.debug("close_failed", error=str(error))
        finally:
            await self._session.close()

    async def _message(self) -> aiohttp.WSMessage:
        """The next message. After the welcome, a silent server is pinged before it is given up."""
        silent = self._answer_within
        if self._silence is not None:
            silent += self._silence
            with suppress(_TooLate):
                return await _in_time(self._socket.receive(), "receive", self._silence, "silent")
            await self._send(self._socket.ping())
        late = f"the server was silent for {silent:g} s"
        return await _in_time(self._socket.receive(), "receive", self._answer_within, late)

    async def _send(self, sending: Awaitable[None]) -> None:
        late = "the server did not read the frame in time"
        await _in_time(sending, "send", self._answer_within, late)

    def _end(self, message: aiohttp.WSMessage) -> ConnectionLost:
        if message.type is WSMsgType.CLOSE:
            return ConnectionLost(str(message.extra or "the server closed"), code=message.data)
        if message.type is WSMsgType.ERROR:
            return ConnectionLost(f"the server broke the protocol: {message.data}")
        if message.type is WSMsgType.BINARY:
            return ConnectionLost("the server sent a binary frame")
        # aiohttp reports 1006 where no close frame came; the server did not send it.
        code = self._socket.close_code
        return ConnectionLost("the connection ended", code=None if code == 1006 else code)


class _TooLate(ConnectionLost):
    """Something took longer than it may."""


async def _in_time(
    work: Awaitable[T],
    verb: str,
    within: float,
    late: str,
    in_words: Callable[[Exception], str] = str,
) -> T:
    """The result of ``work``. Raises ConnectionLost with ``late``, or with the error of aiohttp."""
    try:
        async with asyncio.timeout(within):
            return await work
    except TimeoutError:
        raise _TooLate(late) from None
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionLost(f"cannot {verb}: {in_words(error)}") from error


def _is_websocket_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host(parts.hostname or "")
        return parts.scheme in ("ws", "wss") and parts.port != 0
    except ValueError:
        return False


def _advice(error: Exception) -> str:
    """Why no connection can be made, and which part of the URL to check."""
    match error:
        case aiohttp.ClientHttpProxyError(status=HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):
            return "the proxy refuses the user name and password; check them"
        case aiohttp.ClientHttpProxyError(status=status):
            return f"the proxy answers with HTTP status {status}; check the host and the port"
        case aiohttp.ClientProxyConnectionError():
            return f"{error}; check the host and the port of the proxy"
        case aiohttp.WSServerHandshakeError(status=status, request_info=request):
            busy = (
                status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            )
            advice = "it is busy or down" if busy else "check the port and the path"
            url = without_secrets(str(request.real_url))
            return f"{url} answers with HTTP status {status}; {advice}"
        case aiohttp.ClientConnectorCertificateError():
            return f"{error}; check the host, or the certificates to trust"
        case aiohttp.ClientConnectorError() if not isinstance(error, aiohttp.ClientSSLError):
            return f"{error}; check the host and the port"
        case _:
            return f"{error}; check the scheme (wss:// with TLS, ws:// without) and the port"


def _read(text: str) -> ServerFrame | None:
    """The frame, or None for a frame of an unknown type, which a newer server may send."""
    try:
        return server_frames.validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    kind = fault["input"]["type"] if fault["type"] == "union_tag_invalid" else None
    if not isinstance(kind, str):
        raise ConnectionLost("the server sent a frame that cannot be read")
    _log.info("frame_skipped", type=kind[:64])
    return None


def _silence(ping_every: float, at_least: float) -> float:
    """The allowed silence of the server, in seconds: the interval it names, within bounds."""
    if not math.isfinite(ping_every):
        return _LONGEST_SILENCE
    return min(max(ping_every * _MISSED_PINGS, at_least), _LONGEST_SILENCE)
