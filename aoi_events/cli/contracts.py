"""``aoi contracts``: JSON Schema of everything that crosses the wire."""

from __future__ import annotations

from typing import Annotated

import typer

from aoi_events.cli.output import fail, print_json
from aoi_events.contracts.schema import schemas

__all__ = ["contracts"]


def contracts(
    name: Annotated[
        str | None, typer.Argument(help="one contract, for example SendNotificationV1")
    ] = None,
) -> None:
    """Print the JSON Schema of every request, answer, event and envelope, or of one of them."""
    every = schemas()
    if name is None:
        print_json(every)
        return
    definitions = every.get("$defs", every)
    if name not in definitions:
        fail(f"there is no contract {name!r}; there are: {', '.join(sorted(definitions))}")
    print_json(definitions[name])
