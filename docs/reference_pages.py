"""Writes the parts of the reference that follow from the code, at each build.

A page under ``reference/`` includes them, so the site agrees with the code.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, IntEnum
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel

from aoi_events.cli import metrics as metrics_command
from aoi_events.cli import settings as settings_command
from aoi_events.cli.app import COMMANDS, load_command
from aoi_events.contracts.answers import ANSWERS
from aoi_events.contracts.apps import APP_REQUESTS, ClientFrame
from aoi_events.contracts.device import CloseCode, DeviceFrame, ServerFrame
from aoi_events.contracts.events import CloudEvent, EventData
from aoi_events.contracts.requests import REQUESTS
from aoi_events.contracts.schema import schema_text
from aoi_events.contracts.states import CloseReason, DeliveryState, Reason
from aoi_events.endpoint.openapi import openapi, openapi_text
from aoi_events.errors import ErrorCode
from aoi_events.platform.exit_codes import ExitCode
from tests.public_api import MODULES


def write(folder: Path) -> None:
    """Write every generated part into ``folder``; what is current already is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in parts().items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def parts() -> dict[str, str]:
    """File name → text."""
    return {
        "settings.md": settings_command.as_markdown(settings_command.every_setting()),
        "metrics.md": metrics_command.as_markdown(),
        "error-codes.md": _table(("code", "meaning"), _members(ErrorCode)),
        "close-codes.md": _table(("code", "name", "meaning"), _codes(CloseCode)),
        "exit-codes.md": _table(("code", "name", "meaning"), _codes(ExitCode)),
        "states.md": _table(("state", "meaning"), _members(DeliveryState)),
        "reasons.md": _table(("reason", "meaning"), _members(Reason)),
        "close-reasons.md": _table(("reason", "meaning"), _members(CloseReason)),
        "commands.md": "\n".join(_commands()),
        "requests.md": _models(REQUESTS),
        "answers.md": _models(ANSWERS),
        "events.md": _models({each.__name__: each for each in _event_models()}),
        "device-frames.md": _models(_by_type(get_args(DeviceFrame))),
        "server-frames.md": _models(_by_type(get_args(ServerFrame))),
        "app-requests.md": _models(APP_REQUESTS),
        "client-frames.md": _models(_by_type(_union(ClientFrame))),
        "paths.md": _paths(openapi()),
        "openapi.json": openapi_text(),
        "schema.json": schema_text(),
        **{f"{module}.md": _names(module) for module in MODULES},
    }


# --- tables --------------------------------------------------------------------------------------


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [_row(names), "|" + "---|" * len(names), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str | None) -> str:
    """A docstring in Markdown, on one line."""
    described = " ".join((text or "").split())
    described = re.sub(r":\w+:`~?\.?([^`]+)`", r"`\1`", described)
    return described.replace("``", "`")


def _paragraphs(text: str | None) -> str:
    """A docstring in Markdown, paragraph by paragraph."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(_plain(each) for each in paragraphs)


# --- enumerations --------------------------------------------------------------------------------


def _docs_of(kind: type[Any]) -> dict[str, str]:
    """Member → the string that stands below it."""
    (found,) = ast.parse(inspect.getsource(kind)).body
    return _docs_in(found.body if isinstance(found, ast.ClassDef) else [])


def _docs_in(body: Iterable[ast.stmt]) -> dict[str, str]:
    """Assigned name → the string that stands below the assignment."""
    described: dict[str, str] = {}
    for assigned, text in pairwise(body):
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            match assigned:
                case (
                    ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name))
                ):
                    described[name] = _plain(str(text.value.value))
                case _:
                    pass
    return described


def _members(kind: type[Enum]) -> Iterator[tuple[str, str]]:
    described = _docs_of(kind)
    for each in kind:
        yield f"`{each.value}`", described.get(each.name, "")


def _codes(kind: type[IntEnum]) -> Iterator[tuple[str, str, str]]:
    described = _docs_of(kind)
    for each in kind:
        yield f"`{each.value}`", each.name.lower(), described.get(each.name, "")


# --- Python ---------------------------------------------------------------------------------------


def _names(module: str) -> str:
    """The public names of a module, each with the first sentence of its docstring."""
    exporting = import_module(module)
    homes = _homes(inspect.getsource(exporting))
    rows = []
    for name in sorted(exporting.__all__):
        value = getattr(exporting, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            described = _paragraphs(value.__doc__)
        else:  # an alias of a type
            described = _docs_in(ast.parse(inspect.getsource(import_module(homes[name]))).body)[
                name
            ]
        rows.append((f"`{name}`", re.split(r"(?<=[.])\s", described)[0]))
    return _table(("name", "meaning"), rows)


def _homes(source: str) -> dict[str, str]:
    """Imported name → the module that it is imported from."""
    return {
        each.name: str(node.module)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }


# --- contracts -----------------------------------------------------------------------------------


def _by_type(models: Iterable[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    return {str(model.model_fields["type"].default): model for model in models}


def _union(annotated: Any) -> tuple[type[BaseModel], ...]:
    """The members of a union, with or without a discriminator around it."""
    found = get_args(annotated)
    first = found[0]
    return found if inspect.isclass(first) else get_args(first)


def _event_models() -> tuple[type[BaseModel], ...]:
    return (CloudEvent, *_union(EventData))


def _models(models: Mapping[str, type[BaseModel]]) -> str:
    """A heading, what it is, and a table of fields for each; then the objects inside them."""
    pieces: list[str] = []
    inside: dict[str, Any] = {}
    shown = {model.__name__ for model in models.values()}
    for name, model in models.items():
        schema = model.model_json_schema()
        inside |= schema.get("$defs", {})
        described = _paragraphs(model.__doc__)
        fields = _fields(schema, schema.get("$defs", {}))
        pieces += [f"### {name}", "", f"Contract `{model.__name__}`. {described}", "", fields]
    for name, schema in sorted(inside.items()):
        if "properties" in schema and name not in shown:
            described = _paragraphs(schema.get("description"))
            pieces += [f"### {name}", "", f"An object inside others. {described}", ""]
            pieces += [_fields(schema, inside)]
    return "\n".join(pieces)


def _fields(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = []
    for name, field in schema.get("properties", {}).items():
        needed = name in required or "const" in field
        default = "" if needed or field.get("default") is None else _code(field["default"])
        rows.append((f"`{name}`", _type(field, definitions), "yes" if needed else "", default))
    return _table(("field", "type", "required", "default"), rows)


def _code(value: object) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A JSON Schema in a few words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        inner = definitions[name]
        return _type(inner, definitions) if "enum" in inner else f"object `{name}`"
    if "const" in field:
        return _code(field["const"])
    if "enum" in field:
        return ", ".join(_code(each) for each in field["enum"])
    for several in ("anyOf", "oneOf"):
        if several in field:
            kinds = [_type(each, definitions) for each in field[several]]
            return " or ".join(kind for kind in dict.fromkeys(kinds) if kind != "null")
    kind = str(field.get("type", "any"))
    if kind == "array":
        kind = f"array of {_type(field.get('items', {}), definitions)}"
    bounds = [
        f"{word} {field[key]:,}".replace(",", " ")
        for key, word in (
            ("minimum", "from"), ("maximum", "to"), ("exclusiveMinimum", "above"),
            ("minLength", "at least"), ("maxLength", "at most"),
            ("minItems", "at least"), ("maxItems", "at most"),
        )
        if key in field
    ]  # fmt: skip
    if "pattern" in field:
        bounds.append(f"`{field['pattern']}`")
    if "format" in field:
        bounds.append(str(field["format"]))
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


# --- the command line ----------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    for name in COMMANDS:
        yield from _command(f"aoi {name}", load_command(name), 2)


def _command(path: str, command: click.Command, level: int) -> Iterator[str]:
    yield f"{'#' * level} {path}\n"
    yield _paragraphs(command.help) + "\n"
    if hasattr(command, "commands"):  # a group, of click or of typer's own copy of it
        for name, inner in sorted(command.commands.items()):
            yield from _command(f"{path} {name}", inner, level + 1)
        return
    rows = [_parameter(each) for each in command.params if each.name != "help"]
    if rows:
        yield _table(("argument or option", "meaning"), rows)


def _parameter(parameter: Any) -> tuple[str, str]:
    if parameter.param_type_name == "argument":
        name = str(parameter.name).upper() + ("…" if parameter.nargs == -1 else "")
        return f"`{name}`" + ("" if parameter.required else " (optional)"), _plain(parameter.help)
    names = ", ".join(f"`{each}`" for each in parameter.opts)
    described = _plain(parameter.help)
    default = parameter.default
    if default is None or default is False or callable(default) or "default:" in described:
        return names, described
    return names, f"{described} (default: `{getattr(default, 'value', default)}`)"


# --- HTTP ----------------------------------------------------------------------------------------


def _paths(document: Mapping[str, Any]) -> str:
    rows = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method not in ("get", "post", "delete", "put", "patch"):
                continue
            answers = ", ".join(f"`{status}`" for status in operation["responses"])
            summary = operation.get("summary") or operation.get("description", "")
            rows.append((f"`{method.upper()} {path}`", _plain(summary), answers))
    return _table(("request", "does", "answers"), rows)
