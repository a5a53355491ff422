"""The settings as they are written, before they are validated: names, texts, the TOML file."""

from __future__ import annotations

import os
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from aoi_events.contracts.faults import in_words
from aoi_events.contracts.json_bodies import without_bom
from aoi_events.errors import ConfigurationError
from aoi_events.platform.files import read_regular

PREFIX: Final = "AOI_"
FILE: Final = "AOI_CONFIG"
"""The variable that names the TOML file."""

_OF_SCRIPTS: Final = frozenset({"AOI_LOG_DIR"})
"""Variables of the scripts in ``compose/`` that begin as a setting does."""
_LONGEST: Final = 4_096
"""Characters of a text; no path may be longer, either."""
_PASSWORD: Final = "password"  # noqa: S105 - the name of settings
_LINE_BREAKS: Final = "\r\n"
_SERVICE: Final = "_SERVICE_HOST"
_IN_CHANNEL: Final = re.compile("AOI_CHANNELS__.+__.+")
_LIST: Final = 'must be JSON, like ["a", "b"]'
_OBJECT: Final = 'must be JSON, like {"a": "b"}'
_JSON: Final = {"tuple_type": _LIST, "dict_type": _OBJECT, "model_type": _OBJECT}
"""The words for variables that must be JSON and are not, per type of error."""


def unknown_names(model: type[BaseModel], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that begin with ``AOI_``, are no settings, and resemble none.

    Raises ConfigurationError for one that is meant as a setting, with the nearest one: it has two
    underscores in a row, begins as a setting or section does (``AOI_STORE_URL``), ends as one does
    (``AOI_API_KEYS``), or differs from one in a letter or two. Variables that Kubernetes makes for
    a service of that name (``AOI_GATEWAY_PORT``) are not looked at.
    """
    known = {FILE, *_variables(model, PREFIX)}
    maps = tuple(f"{name}__" for name in _maps(model, PREFIX))
    starts = tuple(f"{name}_" for name in known if "__" not in name)
    names = {name.upper(): name for name in environment}
    services = [name.removesuffix(_SERVICE) for name in names if name.endswith(_SERVICE)]
    made = tuple(f"{each}_{part}" for each in services for part in ("SERVICE_", "PORT"))
    others: list[str] = []
    for name in sorted(names.keys() - known - _OF_SCRIPTS):
        if not name.startswith(PREFIX) or name.startswith((*maps, *made)):
            continue
        if "__" in name or name.startswith(starts) or _alike(name, known) or _ends(name, known):
            raise ConfigurationError(f"settings: {names[name]}{_no_setting(name, known)}")
        others.append(names[name])
    return tuple(others)


def check_once(environment: Mapping[str, str]) -> None:
    """Raises ConfigurationError for two variables of which one would be ignored in silence.

    Their names differ in case only, or one has a channel's setting as a whole and one a part of it.
    """
    seen: dict[str, str] = {}
    for name in sorted(environment, key=str.upper):
        upper = name.upper()
        if not upper.startswith(PREFIX) or not environment[name].strip():
            continue
        for other, its_name in seen.items():
            part = _IN_CHANNEL.match(other) and upper.startswith(f"{other}__")
            if upper == other or part:
                raise ConfigurationError(
                    f"settings: {its_name} and {name} are one setting; unset one of them"
                )
        seen[upper] = name


def in_words_of(model: type[BaseModel], *at: str) -> Callable[[ErrorDetails], str]:
    """Describes faults of ``model``, whose settings are at that place, with their variables."""

    def described(fault: ErrorDetails) -> str:
        name = variable((*at, *fault["loc"]))
        if fault["type"] == "extra_forbidden":
            known = set(_variables(model, variable((*at, ""))))
            if name in known:  # and its spelling in the file is not
                return f"{name}: must be in lower case in the file: {str(fault['loc'][-1]).lower()}"
            return name + _no_setting(name.upper(), known)
        words = _JSON.get(fault["type"]) if name in map(str.upper, os.environ) else None
        return f"{name}: {words or in_words(fault)}"

    return described


def _no_setting(name: str, known: AbstractSet[str]) -> str:
    head, _, tail = name.partition("__")
    alone = head in known and not any(each.startswith(f"{head}__") for each in known)
    near = (
        _alike(name, known)
        or ([head] if alone else [])
        or get_close_matches(name, _ends(name, known), n=1, cutoff=0.0)
        or get_close_matches(name, {*known, f"{PREFIX}CHANNELS__{tail}"}, n=1, cutoff=0.8)
    )
    return " is no setting; " + (
        f"did you mean {near[0]}?" if near and near[0] != name else "`aoi settings` lists them all"
    )


def _alike(name: str, known: AbstractSet[str]) -> list[str]:
    return get_close_matches(name, known, n=1, cutoff=0.88)


def _ends(name: str, known: AbstractSet[str]) -> list[str]:
    """Settings that end as ``name`` does after its section, or after ``AOI_``."""
    end = name.partition("__")[2] or name.removeprefix(PREFIX)
    return [each for each in known if each.endswith(f"__{end}")]


def read_file(path: str) -> dict[str, Any]:
    """The content of the TOML file. Raises ConfigurationError."""
    try:
        text = without_bom(read_regular(Path(path))).decode()
    except FileNotFoundError:
        raise ConfigurationError(f"{FILE} names {path}, which is no file") from None
    except OSError as error:
        raise ConfigurationError(f"{FILE} names {path[:200]}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16
        raise ConfigurationError(f"{FILE} names {path}, which is not UTF-8; save it as UTF-8")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{FILE} names {path}, which is no TOML: {error}") from None


def stripped(value: Any, *at: str | int) -> Any:
    """``value`` with every text in it stripped of white space, as files and shells add it.

    A password loses line breaks only: a variable was stripped before, and in quotes of TOML or JSON
    spaces are meant.

    Raises ConfigurationError for control characters and for texts that are too long, except in
    JSON that the settings of a channel read. ``at``: the place of the value, for the error.
    """
    if isinstance(value, dict):
        return {key: stripped(each, *at, key) for key, each in value.items()}
    if isinstance(value, list):
        return [stripped(each, *at, place) for place, each in enumerate(value)]
    if not isinstance(value, str):
        return value
    text = value.strip(_LINE_BREAKS if at[-1:] == (_PASSWORD,) else None)
    if text.startswith(("[", "{")) and "\0" not in text:
        return text
    if len(text) > _LONGEST:
        raise ConfigurationError(
            f"settings: {variable(at)}: must have {_LONGEST} or fewer characters"
        )
    if any(unicodedata.category(each) == "Cc" for each in text):
        raise ConfigurationError(f"settings: {variable(at)}: must not have control characters")
    return text


def variable(location: tuple[int | str, ...]) -> str:
    """The environment variable of the setting at this place."""
    return PREFIX + "__".join(str(part).upper() for part in location if part != "[key]")


def _variables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name.upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{prefix}{name.upper()}__")


def _maps(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """The settings below which any name may stand."""
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is dict:
            yield prefix + name.upper()
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _maps(field.annotation, f"{prefix}{name.upper()}__")
