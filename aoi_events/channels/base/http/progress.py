"""How far a request came that has no answer: whose fault that is."""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp


@dataclass(slots=True)
class Progress:
    """Findings of a request that has no answer yet; see `NoAnswer`.

    While a connection is made it shows only that of the host. On a new connection the resource
    fails, and the host works; on one from before the host is unknown.

    ``at_proxy``: the proxy has not connected to anybody yet, so what fails is the proxy. So it
    remains for ``plain`` requests (`http:`), which the proxy itself answers.
    """

    plain: bool
    at_proxy: bool
    works: bool | None = None
    host_works: bool | None = None


_current: ContextVar[Progress] = ContextVar("_current")


def noting(tls: ssl.SSLContext) -> ssl.SSLContext:
    """``tls`` for requests that begin with `follow`, and for these only."""
    tls.sslobject_class = _Handshake
    return tls


def noted() -> aiohttp.TraceConfig:
    """Notes the progress of each request that begins with `follow`."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(_begins)
    trace.on_connection_create_end.append(_made)
    trace.on_connection_reuseconn.append(_reused)
    return trace


def follow(progress: Progress) -> None:
    """From now on, what this task sends is the request of ``progress``."""
    _current.set(progress)


class _Handshake(ssl.SSLObject):
    """Notes that the tunnel of a proxy stands, which no signal of aiohttp reports."""

    def do_handshake(self) -> None:
        progress = _current.get()
        progress.at_proxy = False
        progress.host_works = False
        super().do_handshake()


async def _begins(_: aiohttp.ClientSession, __: SimpleNamespace, ___: object) -> None:
    progress = _current.get()
    if not progress.at_proxy:
        progress.host_works = False


async def _made(_: aiohttp.ClientSession, __: SimpleNamespace, ___: object) -> None:
    progress = _current.get()
    if not progress.at_proxy:
        progress.works = False
        progress.host_works = True


async def _reused(_: aiohttp.ClientSession, __: SimpleNamespace, ___: object) -> None:
    progress = _current.get()
    if not (progress.at_proxy and progress.plain):
        progress.at_proxy = False
        progress.works = False
