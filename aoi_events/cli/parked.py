"""The work of ``aoi dead`` on parked messages: list, show and drop them."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from rich.padding import Padding
from rich.text import Text

from aoi_events.cli.output import console, fail, plain, print_json
from aoi_events.cli.store import checked_store
from aoi_events.domain.parked import ParkedMessage
from aoi_events.errors import ErrorCode

_TOKEN: Final = re.compile(r"\b([A-Za-z0-9]{1,16})\.[A-Za-z0-9_-]{60,}")
"""A token in a body; only the ID of the key that issued it is printed."""

_WRONG: Final = frozenset(
    {
        ErrorCode.MALFORMED,
        ErrorCode.TOO_LARGE,
        ErrorCode.VERSION_UNSUPPORTED,
        ErrorCode.INVALID,
        ErrorCode.UNKNOWN_REQUEST,
    }
)
"""Codes of messages that no version that refused them will take."""


def list_parked(limit: int, *, json: bool) -> None:
    """Print parked messages, newest first, and how many more were only counted."""

    async def run() -> tuple[list[ParkedMessage], dict[tuple[str, str], tuple[int, int]]]:
        async with checked_store() as store, store.transaction(read_only=True) as tx:
            return list(await tx.parked(limit=limit)), dict(await tx.parked_counts())

    rows, counts = asyncio.run(run())
    stored = sum(parked for parked, _ in counts.values())
    more = max(0, stored - len(rows))
    over = [(sender, code, counted) for (sender, code), (_, counted) in counts.items() if counted]
    if json:
        print_json(
            {
                "parked": [_shown(row, body=False) for row in rows],
                "more": more,
                "counted_only": [
                    {"sender": sender, "code": code, "messages": counted}
                    for sender, code, counted in over
                ],
            }
        )
        return
    if not rows:
        console.print("Nothing is parked.")
    for row in rows:
        _print(row)
    if more:
        hint = f"and {more} older; `aoi dead list --limit {stored}` lists all"
        console.print(plain(hint), soft_wrap=True)
    for sender, code, counted in over:
        line = f"and {counted} more {code} of {sender or '?'}, over quota: counted only"
        console.print(plain(line), soft_wrap=True)


def show_parked(identifier: str, *, json: bool) -> None:
    """Print one parked message with its body, tokens masked."""
    row = asyncio.run(_load([identifier]))[0]
    if json:
        print_json(_shown(row, body=True))
        return
    for name, value in (_shown(row, body=True) | {"replayable": _replay(row)}).items():
        shown = {None: "", True: "yes", False: "no"}.get(value, value)
        line = Text(f"{name.replace('_', ' '):>12}  ", "dim").append_text(plain(str(shown)))
        console.print(line, soft_wrap=True)


def drop_parked(identifiers: list[str]) -> None:
    """Delete parked messages."""
    asyncio.run(_load(identifiers))
    console.print(f"dropped {asyncio.run(_drop(identifiers))}")


def _print(row: ParkedMessage) -> None:
    """Two lines: ID, time and sender of the request; below, what was wrong with it."""
    line = plain(row.id, "bold")
    line.append(f"  {row.parked_at:%Y-%m-%d %H:%M:%S}  ", "not bold dim")
    line.append_text(plain(f"{row.routing_key} of {row.sender or '?'}", "not bold"))
    console.print(line, soft_wrap=True)
    why = f"{row.code}: {row.reason} ({_replay(row)})"
    console.print(Padding(plain(why), (0, 0, 0, 4)))


def _replay(row: ParkedMessage) -> str:
    """Whether a replay can succeed: the same octets are refused again by the same version."""
    if not row.replayable:
        return f"cannot be replayed: {row.obstacle}"
    if row.code in _WRONG:
        return "would be refused again"
    return "can be replayed"


async def _load(identifiers: list[str]) -> list[ParkedMessage]:
    async with checked_store() as store, store.transaction(read_only=True) as tx:
        rows = {row.id: row for row in await tx.parked(ids=identifiers, limit=len(identifiers))}
    missing = [identifier for identifier in identifiers if identifier not in rows]
    if missing:
        fail(f"not parked: {', '.join(missing)}; `aoi dead list` shows what is")
    return [rows[identifier] for identifier in identifiers]


async def _drop(identifiers: list[str]) -> int:
    async with checked_store() as store, store.transaction() as tx:
        return await tx.drop_parked(identifiers)


def _shown(row: ParkedMessage, *, body: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": row.id,
        "parked_at": row.parked_at.isoformat(),
        "queue": row.queue,
        "routing_key": row.routing_key,
        "sender": row.sender,
        "code": row.code,
        "reason": row.reason,
        "replayable": row.replayable,
        "obstacle": row.obstacle,
    }
    if body:
        shown["body"] = _TOKEN.sub(r"\1.[token]", row.body.decode(errors="backslashreplace"))
    return shown
