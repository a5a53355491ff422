"""``aoi keys``: the server's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aoi_events.bootstrap import load_settings
from aoi_events.bootstrap.keys import create_key_file
from aoi_events.cli.output import console, plain

__all__ = ["app"]

app = typer.Typer(help="The server's keys.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The server's keys."""


@app.command()
def new(
    file: Annotated[
        Path | None, typer.Option(help="where to write them; default: AOI_KEY_FILE")
    ] = None,
) -> None:
    """Make a key file, readable by you only; every worker of an installation needs the same one."""
    path = file or load_settings().key_file
    create_key_file(path)
    console.print(plain(f"Keys written to {path}."), soft_wrap=True)
    console.print("Keep the file secret, and keep a copy: tokens depend on it.")
