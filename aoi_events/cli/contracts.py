"""``aoi contracts``: JSON Schema of everything that crosses the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import Annotated, Any, Final

import typer

from aoi_events.cli.output import fail, print_json
from aoi_events.platform.exit_codes import ExitCode

_REFERENCE: Final = "#/$defs/"
_REFERRED: Final = re.compile(r'"#/\$defs/(\w+)"')


def contracts(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="a routing key (notification.send), an answer's or event's type "
            "(notification.accepted.v1, aoi.client.registered.v1), or a contract "
            "(SendNotificationV1)",
        ),
    ] = None,
    openapi: Annotated[
        bool,
        typer.Option("--openapi", help="print the OpenAPI document of the HTTP endpoint instead"),
    ] = False,
) -> None:
    """Print the JSON Schema of every request, answer, event and envelope, or of one of them."""
    if openapi:
        from aoi_events.endpoint.openapi import openapi as openapi_document

        print_json(openapi_document())
        return
    every = json.loads(files("aoi_events.contracts").joinpath("schema.json").read_text())
    if name is None:
        print_json(every)
        return
    found = _found(every, name)
    if not found:
        names = sorted(set(_names(every)))
        near = get_close_matches(name, names, n=5, cutoff=0.5) or names
        fail(
            f"there is no contract {name!r}; "
            + ("near it: " if near != names else "there are: ")
            + ", ".join(near),
            code=ExitCode.USAGE,
        )
    definitions: Mapping[str, Any] = every["$defs"]
    needed = set(_needed(found, definitions))
    print_json(
        {
            "$schema": every["$schema"],
            **(
                {"$ref": _REFERENCE + found[0]}
                if len(found) == 1
                else {"anyOf": [{"$ref": _REFERENCE + each} for each in found]}
            ),
            "$defs": {each: definitions[each] for each in sorted(needed)},
        }
    )


def _names(every: Mapping[str, Any]) -> Iterator[str]:
    yield from every["$defs"]
    for group in _groups(every):
        yield from group


def _groups(every: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for group, members in every.items():
        if isinstance(members, Mapping) and group != "$defs":
            yield members


def _found(every: Mapping[str, Any], name: str) -> list[str]:
    """The definitions of that name; frames of both directions may share one."""
    if name in every["$defs"]:
        return [name]
    references = (group[name]["$ref"] for group in _groups(every) if name in group)
    return list(dict.fromkeys(reference.removeprefix(_REFERENCE) for reference in references))


def _needed(names: list[str], definitions: Mapping[str, Any]) -> Iterator[str]:
    """``names`` and all that they refer to."""
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            yield name
            waiting.extend(_REFERRED.findall(json.dumps(definitions[name])))
