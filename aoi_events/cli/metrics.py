"""``aoi metrics``: every metric that workers serve, with its labels and meaning."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from aoi_events.cli.output import console


def metrics(
    markdown: Annotated[bool, typer.Option("--markdown", help="print a Markdown table")] = False,
) -> None:
    """List every metric of `/metrics`: name, type, labels and meaning."""
    if markdown:
        sys.stdout.write(as_markdown())
        return
    from aoi_events.telemetry.catalogue import CATALOGUE

    for each in CATALOGUE:
        line = Text(each.name, style="bold")
        if each.labels:
            names = ", ".join(label.name for label in each.labels)
            line.append(f"{{{names}}}", style="not bold")
        line.append(f"  {each.kind}", style="not bold cyan")
        console.print(line, soft_wrap=True)
        console.print(Padding(each.meaning.replace("`", ""), (0, 0, 0, 4)), markup=False)


def as_markdown() -> str:
    """The table of the reference page, in Markdown."""
    from aoi_events.telemetry.catalogue import CATALOGUE

    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for each in CATALOGUE:
        labels = ", ".join(f"`{label.name}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.meaning} |")
    return "\n".join(lines) + "\n"
