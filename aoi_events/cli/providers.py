"""``aoi status --channels``: which providers of channels work, as the channel workers report."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.table import Table

from aoi_events.cli.output import console, plain, print_json
from aoi_events.cli.store import checked_store
from aoi_events.domain.providers.breaker import BreakerState
from aoi_events.domain.providers.health import FRESH, ProviderHealth

_COUNTED: Final = 10_000
_COLOURS: Final = {
    BreakerState.CLOSED: "green",
    BreakerState.HALF_OPEN: "yellow",
    BreakerState.OPEN: "red",
}


def show_providers(*, json: bool) -> None:
    """Print what each running channel worker reports of its providers, and what waits for them."""
    rows, waiting, now = asyncio.run(_load())
    if json:
        print_json(
            {
                "providers": [_as_json(row) for row in rows],
                "waiting": {
                    channel: waiting.get(channel, 0)
                    for channel in sorted({*waiting, *(row.channel for row in rows)})
                },
            }
        )
        return
    if not rows:
        console.print("no channel worker is running", style="yellow")
    else:
        console.print(_table(rows, now))
    for channel, count in sorted(waiting.items()):
        many = f"{_COUNTED} or more" if count >= _COUNTED else str(count)
        console.print(plain(f"{many} deliveries wait for a provider of {channel} that is down"))


async def _load() -> tuple[Sequence[ProviderHealth], Mapping[str, int], datetime]:
    async with checked_store() as store:
        now = await store.now() or datetime.now(UTC)
        async with store.transaction(read_only=True) as tx:
            return await tx.health(now - FRESH), await tx.count_awaiting_provider(_COUNTED), now


def _as_json(row: ProviderHealth) -> dict[str, object]:
    fields = {
        "channel": row.channel,
        "provider": row.provider or None,
        "worker": row.worker,
        "state": row.state.value,
        "since": _iso(row.since),
        "why": row.why or None,
        "next_probe": _iso(row.until),
        "seen_at": _iso(row.seen_at),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _table(rows: Sequence[ProviderHealth], now: datetime) -> Table:
    """One row for each provider and state; ``workers``: how many of them report it."""
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for title in ("channel", "provider", "state", "since", "next probe", "what fails", "workers"):
        table.add_column(title, overflow="fold")
    together: dict[tuple[str, str, BreakerState], list[ProviderHealth]] = defaultdict(list)
    for row in rows:
        together[row.channel, row.provider, row.state].append(row)
    for (channel, provider, state), reports in sorted(together.items()):
        since = min((row.since for row in reports if row.since is not None), default=None)
        until = min((row.until for row in reports if row.until is not None), default=None)
        table.add_row(
            channel,
            plain(provider or "(all others)"),
            plain(state.value.replace("_", " "), _COLOURS[state]),
            "" if since is None else f"{_span(now - since)} ago",
            "" if until is None else "now" if until <= now else f"in {_span(until - now)}",
            plain(reports[0].why),
            str(len(reports)),
        )
    return table


def _span(time: timedelta) -> str:
    seconds = max(int(time.total_seconds()), 0)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7_200 else f"{seconds // 3_600} h"
