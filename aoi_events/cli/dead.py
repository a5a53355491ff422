"""``aoi dead``: messages that workers could not handle and parked, for a person to look at."""

from __future__ import annotations

from typing import Annotated

import typer

from aoi_events.cli.output import Json

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="prk_… from `aoi dead list`")]
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="prk_… from `aoi dead list`")]


@app.command("list")
def list_messages(
    limit: Annotated[int, typer.Option(min=1, metavar="COUNT", help="how many to list")] = 50,
    json: Json = False,
) -> None:
    """List parked messages, newest first, and how many more were only counted."""
    from aoi_events.cli.parked import list_parked

    list_parked(limit, json=json)


@app.command()
def show(identifier: Id, json: Json = False) -> None:
    """Show one parked message with its body.

    Tokens in the body are masked; secrets are never stored.
    """
    from aoi_events.cli.parked import show_parked

    show_parked(identifier, json=json)


@app.command()
def replay(identifiers: Ids) -> None:
    """Let workers handle parked messages again, each one alone.

    A message is deleted here once a worker handled it. The others stay, and the error says why:
    those that cannot be replayed, that failed again, or that no worker took within 15 seconds.
    """
    from aoi_events.cli.replaying import replay_parked

    replay_parked(identifiers)


@app.command()
def drop(identifiers: Ids) -> None:
    """Delete parked messages."""
    from aoi_events.cli.parked import drop_parked

    drop_parked(identifiers)
