"""``aoi status ID``: the state of deliveries, and what happened to them step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from rich.table import Table

from aoi_events.cli.output import console, fail, plain, print_json
from aoi_events.cli.store import checked_store, store_name
from aoi_events.contracts.answers import MAX_STORIES, DeliveryStatus
from aoi_events.domain.delivery.state import Delivery
from aoi_events.services.notification.status import delivery_statuses

_COLOURS: Final = {"delivered": "green", "failed": "red", "expired": "yellow", "stored": "cyan"}


def show_deliveries(identifier: str, sender: str | None, *, json: bool) -> None:
    """Print the delivery with this ID, or each delivery of the notification with this ID."""
    found = asyncio.run(_find(identifier, sender))
    if not found:
        fail(
            f"no notification or delivery {identifier!r} is stored in {store_name()}; settled "
            "deliveries are deleted after AOI_POLICY__KEEP_SETTLED seconds"
        )
    if json:
        print_json(
            [
                {
                    "notification": row.notification,
                    "sender": row.sender,
                    "client": row.client,
                    "application": row.application,
                    **shown.model_dump(mode="json", exclude_none=True),
                }
                for row, shown in found
            ]
        )
        return
    for row, shown in found:
        _print(row, shown)
    if len(found) > MAX_STORIES:
        hint = f"{len(found)} deliveries; `aoi status dlv_…` shows every step of one"
        console.print(plain(hint), soft_wrap=True)
    console.print(plain(f"read from {store_name()}", "dim"), soft_wrap=True)


async def _find(identifier: str, sender: str | None) -> Sequence[tuple[Delivery, DeliveryStatus]]:
    async with checked_store() as store, store.transaction(read_only=True) as tx:
        if identifier.startswith("dlv_"):
            rows: Sequence[Delivery] = list((await tx.deliveries({identifier})).values())
        else:
            rows = await tx.deliveries_named(identifier)
        rows = [row for row in rows if sender is None or row.sender == sender]
        statuses = await delivery_statuses(tx, rows, story=len(rows) <= MAX_STORIES)
    return list(zip(rows, statuses, strict=True))


def _print(row: Delivery, shown: DeliveryStatus) -> None:
    colour = _COLOURS.get(shown.state, "white")
    by = f" by {shown.by}" if shown.by else ""
    by += f" over {shown.channel}" if shown.by and shown.channel else ""
    why = f" ({shown.reason})" if shown.reason else ""
    line = plain(row.notification, "bold")
    line.append_text(plain(f" from {row.sender} to {row.application}: ", "not bold"))
    console.print(line.append(f"{shown.state}{by}{why}", f"not bold {colour}"), soft_wrap=True)
    cost = f"  cost {shown.cost:g}" if shown.cost else ""
    at = f"{shown.accepted_at:%Y-%m-%d %H:%M:%S} UTC"
    about = f"  {at}  {shown.delivery}  client {row.client}{cost}"
    console.print(about, style="dim", soft_wrap=True)
    if not shown.story:
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for title in ("after", "what", "channel", "attempt", "detail"):
        table.add_column(title, justify="right" if title in ("after", "attempt") else "left")
    for hop in shown.story:
        after = (hop.at - shown.accepted_at).total_seconds()
        table.add_row(
            f"{after:.3f} s",
            hop.what.replace("_", " "),
            hop.channel or "",
            str(hop.attempt or ""),
            plain(hop.detail or ""),
        )
    console.print(table)
