"""A worker as a process: signals, draining, health, exit codes. HUP reads files again.

Exit codes: 0 drained after TERM; 69 broker or store could not be reached at the start; 70 a
batch or a quarantined message made no progress within its time limit; 75 not drained in time (what
was unfinished goes to others); 78 the settings cannot work; 143 a second TERM; 1 a bug, with its
traceback in the log.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Final

from aoi_events.bootstrap.installation import Installation, open_installation
from aoi_events.bootstrap.setting_sources import unknown_names
from aoi_events.bootstrap.settings import Settings
from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.platform.clock import SystemClock
from aoi_events.platform.exit_codes import ExitCode
from aoi_events.platform.followed_files import FollowedFiles
from aoi_events.platform.logs import get_logger
from aoi_events.platform.tasks import first_completed, unless_set
from aoi_events.telemetry.health import HealthServer
from aoi_events.telemetry.logs import configure_logging

log = get_logger(__name__)

_SERVERS: Final = frozenset({"gateway", "endpoint"})
"""Workers that others connect to."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a process that is ready can be reached; None: it does not serve these clients."""

    devices: str | None
    senders: str | None
    metrics: str | None


Ready = Callable[[Addresses], None]


def run_process(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    alone: bool = False,
    ready: Ready = lambda _: None,
) -> int:
    """Run these workers (all, where none is named) until TERM or INT; returns the exit code.

    ``ready`` is called once all workers take work.
    """
    configure_logging(level=settings.log.level, form=settings.log.format)
    if others := unknown_names(Settings, os.environ):
        log.warning("unknown_variables", names=others, hint="they are no settings; `aoi settings`")
    try:
        return asyncio.run(_process(settings, names, alone=alone, ready=ready))
    except ConfigurationError as error:
        log.error("settings", error=str(error))
        return ExitCode.CONFIG
    except InfrastructureError as error:
        log.error("unreachable", error=str(error))
        return ExitCode.UNREACHABLE


async def _process(settings: Settings, names: Sequence[str], *, alone: bool, ready: Ready) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_end, stop)
    files = FollowedFiles()
    async with AsyncExitStack() as stack:
        installation = await unless_set(
            stop, stack.enter_async_context(open_installation(settings, names, alone=alone))
        )
        if installation is None:
            log.info("stopped", hint="by a signal, while it waited for the broker or the store")
            return 0
        return await serve(installation, stop, ready, files)


async def serve(
    installation: Installation,
    stop: asyncio.Event,
    ready: Ready,
    files: FollowedFiles | None = None,
) -> int:
    """Run the workers and the health server until ``stop``; returns the exit code.

    ``ready`` is called once all workers take work. Servers close ``close_after`` seconds later.
    ``files`` are taken when they change.
    """
    settings, names = installation.settings, installation.names
    closing = asyncio.Event()
    workers = [installation.worker(name) for name in names]
    started = [asyncio.Event() for _ in workers]

    async def running() -> bool:
        return all(event.is_set() for event in started) and not stop.is_set()

    checks = {**installation.checks, "workers": running}
    health = HealthServer(
        settings.health.host,
        settings.health.port,
        checks,
        metrics=installation.metrics.exposition,
        notes=lambda: _notes(installation),
    )
    if settings.health.enabled:
        await health.start()
    tasks = [
        asyncio.create_task(run(closing, event), name=name)
        for name, run, event in zip(names, workers, started, strict=True)
    ]
    watches: list[asyncio.Task[None]] = []
    if installation.clocks is not None:
        watches.append(asyncio.create_task(installation.clocks.watch(closing)))
    if files is not None:
        watches.append(asyncio.create_task(files.watch(SystemClock())))
    try:
        all_started, *_ = await first_completed(_all(started), stop.wait(), *tasks, *watches)
        if not all_started.cancelled():
            addresses = _addresses(installation, health)
            log.info(
                "started",
                workers=list(names),
                health=health.port if settings.health.enabled else None,
                pid=os.getpid(),
                **{name: url for name, url in asdict(addresses).items() if url is not None},
            )
            if "endpoint" in names and not settings.endpoint.api_keys:
                log.info(
                    "no_api_keys",
                    hint="requests to the JSON API are answered with 401; `aoi keys api NAME` "
                    "makes a key, and says where its hash goes",
                )
            ready(addresses)
            await first_completed(stop.wait(), *tasks, *watches)
            if settings.close_after and stop.is_set() and not _SERVERS.isdisjoint(names):
                log.info("leaving", workers=list(names), closes_after=settings.close_after)
                await first_completed(asyncio.sleep(settings.close_after), *tasks, *watches)
        stop.set()
        closing.set()
        log.info("draining", workers=list(names))
        ended = [watch for watch in watches if watch.done()]
        for watch in watches:
            watch.cancel()  # it may wait for a store that does not answer, and has nothing to drain
        done, late = await asyncio.wait(tasks, timeout=settings.drain_within)
        for task in (*ended, *done):
            if (fault := task.exception()) is not None:
                raise _plain(fault)
        if late:
            log.error("not_drained", workers=sorted(task.get_name() for task in late))
            return ExitCode.TRY_LATER
        log.info("drained", workers=list(names))
        return 0
    finally:
        for task in (*tasks, *watches):
            task.cancel()
        await asyncio.gather(*tasks, *watches, return_exceptions=True)
        await health.stop()


def _addresses(installation: Installation, health: HealthServer) -> Addresses:
    settings, names = installation.settings, installation.names
    devices = senders = metrics = None
    if "gateway" in names:
        # Loaded already, but only in a process with a gateway.
        from aoi_events.gateway.sockets.server import PATH

        scheme = "ws" if settings.gateway.certificate is None else "wss"
        devices = _url(scheme, settings.gateway.host, installation.gateway.port, PATH)
    if "endpoint" in names:
        senders = installation.endpoint.origin
    if settings.health.enabled:
        metrics = _url("http", settings.health.host, health.port, "/metrics")
    return Addresses(devices, senders, metrics)


def _url(scheme: str, host: str, port: int, path: str) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


def _notes(installation: Installation) -> dict[str, str]:
    """Texts for the operator beside the checks; a process with a refused policy works."""
    notes: dict[str, str] = {}
    policy = installation.policy
    if policy is not None and policy.refused is not None:
        notes["policy"] = f"the previous policy is in force, because {policy.refused}"
    if "gateway" in installation.names and (fault := installation.gateway.queue_fault) is not None:
        notes["gateway_queue"] = fault
    return notes


async def _all(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


def _plain(fault: BaseException) -> BaseException:
    """The error inside exception groups for which there is an exit code; a bug as it is."""
    if not isinstance(fault, BaseExceptionGroup):
        return fault
    if fault.split((ConfigurationError, InfrastructureError))[1] is not None:
        return fault
    return _plain(fault.exceptions[0])


def _stop_or_end(stop: asyncio.Event) -> None:
    """The first signal drains, the second ends the process at once."""
    if stop.is_set():
        os._exit(ExitCode.TERMINATED)
    stop.set()
