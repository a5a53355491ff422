"""``aoi status``: what became of a notification or a delivery, hop by hop (operators only)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.table import Table

from aoi_events.bootstrap.settings import load_settings
from aoi_events.cli.channels import show_channels
from aoi_events.cli.output import console, fail, plain, print_json
from aoi_events.contracts.answers import MAX_STORIES, DeliveryStatus
from aoi_events.domain.delivery.machine import Delivery
from aoi_events.services.notification.status import delivery_statuses
from aoi_events.store.store import open_store

__all__ = ["status"]

_COLOURS: Final = {"delivered": "green", "failed": "red", "expired": "yellow", "stored": "cyan"}


def status(
    identifier: Annotated[
        str | None, typer.Argument(metavar="ID", help="a notification's or a delivery's ID (dlv_…)")
    ] = None,
    sender: Annotated[
        str | None, typer.Option(help="only this sender's notification of that ID")
    ] = None,
    channels: Annotated[
        bool, typer.Option("--channels", help="how the providers of the channels are, instead")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tell the story of a delivery, or of each one of a notification (of many: the states)."""
    if channels:
        show_channels(json=json)
        return
    if identifier is None:
        fail("say which: aoi status ID, or aoi status --channels", code=2)
    found = asyncio.run(_find(identifier, sender))
    if not found:
        fail(f"nothing is known of {identifier!r}; settled ones are forgotten after a while")
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
        said = f"{len(found)} deliveries; `aoi status dlv_…` tells the story of one"
        console.print(plain(said), soft_wrap=True)


async def _find(identifier: str, sender: str | None) -> Sequence[tuple[Delivery, DeliveryStatus]]:
    settings = load_settings()
    store = await open_store(settings.store.get_secret_value())
    try:
        await store.check()
        async with store.transaction(read_only=True) as tx:
            if identifier.startswith("dlv_"):
                rows: Sequence[Delivery] = list((await tx.deliveries({identifier})).values())
            else:
                rows = await tx.deliveries_named(identifier)
            rows = [row for row in rows if sender is None or row.sender == sender]
            statuses = await delivery_statuses(tx, rows, story=len(rows) <= MAX_STORIES)
    finally:
        await store.close()
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
    console.print(f"  {shown.delivery}  client {row.client}{cost}", style="dim")
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
