"""``aoi db``: the schema of the store."""

from __future__ import annotations

import typer

from aoi_events.cli.output import console, plain

app = typer.Typer(no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the schema up to date; safe to run again, and from several machines at once."""
    import asyncio

    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.store.migration import upgrade as upgrade_schema

    url = load_settings().store.get_secret_value()
    asyncio.run(upgrade_schema(url, tell=lambda text: console.print(plain(text), soft_wrap=True)))
    console.print("The schema is up to date.")
