"""``aoi settings``: every setting with its variable, default and meaning."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from textwrap import TextWrapper
from typing import Annotated, Any

import typer
from pydantic import BaseModel, SecretStr
from rich.text import Text

from aoi_events.cli.output import console


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as an operator sees it."""

    variable: str
    default: str
    meaning: str


def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="print a Markdown table")] = False,
) -> None:
    """List every setting: its environment variable, default and meaning."""
    rows = list(every_setting())
    if markdown:
        sys.stdout.write(as_markdown(rows))
        return
    meaning = TextWrapper(
        console.width, initial_indent=" " * 4, subsequent_indent=" " * 4, break_on_hyphens=False
    )
    for row in rows:
        line = Text(row.variable, style="bold")
        if row.default:
            line.append(f" = {row.default}", style="not bold cyan")
        console.print(line, soft_wrap=True)
        sys.stdout.write(meaning.fill(row.meaning.replace("`", "")) + "\n")


def as_markdown(rows: Iterable[Setting]) -> str:
    """The table of the reference page, in Markdown."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in rows:
        default = f"`{row.default}`" if row.default else ""
        cells = (f"`{row.variable}`", default, row.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def every_setting() -> Iterator[Setting]:
    """All settings, sections after the rest, then one section per installed channel plug-in."""
    from aoi_events.bootstrap.plugins import installed_plugins
    from aoi_events.bootstrap.settings import Settings

    yield Setting("AOI_CONFIG", "", "A TOML file with settings; the environment wins over it.")
    yield from _of(Settings, "AOI_")
    for kind, plugin in sorted(installed_plugins().items()):
        model: Any = plugin.settings_model
        yield from _of(model, f"AOI_CHANNELS__{kind.upper()}__")


def _of(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    meanings = _docstrings(model)
    sections: list[tuple[type[BaseModel], str]] = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        variable = prefix + name.upper()
        if isinstance(default, BaseModel):
            sections.append((type(default), f"{variable}__"))
            continue
        if name == "channels":
            continue
        yield Setting(variable, _text(default), meanings.get(name, ""))
    for section, start in sections:
        yield from _of(section, start)


def _text(default: Any) -> str:
    if default is None or default in ({}, ()):
        return ""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return json.dumps(default)
    if isinstance(default, float):
        return f"{default:g}"
    return str(default)


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The text under each field, inherited ones too: the one place where a setting is explained."""
    found: dict[str, str] = {}
    for base in model.__bases__:
        if issubclass(base, BaseModel) and not base.__module__.startswith("pydantic"):
            found |= _docstrings(base)
    for field, text in pairwise(_classes(model.__module__)[model.__name__].body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split()).replace("``", "`")
    return found


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """The classes in a module's source, by name."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
