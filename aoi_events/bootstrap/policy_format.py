"""The format of the operator's policy file: TOML, checked key by key."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from aoi_events.contracts.content import MAX_CONTENT
from aoi_events.contracts.faults import in_words
from aoi_events.contracts.identifiers import (
    ApplicationName,
    ChannelType,
    HedgeAfter,
    Mode,
    Urgency,
)
from aoi_events.contracts.json_bodies import without_bom
from aoi_events.domain.planning.policy import ChannelRules, Policy, Rules
from aoi_events.errors import PolicyRefused
from aoi_events.platform.files import open_regular

MAX_FILE: Final = 1 << 20
"""Octets that a policy file may have."""

_MAX_FAULTS: Final = 20
_Cost = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class _Channel(_Table):
    least_urgency: Annotated[Urgency, Field(strict=False)] | None = None
    ack_within: Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)] | None = None
    largest: Annotated[int, Field(ge=0, le=MAX_CONTENT)] | None = None
    cost: _Cost | None = None

    def rules(self) -> ChannelRules:
        return ChannelRules(self.least_urgency, self.ack_within, self.largest, self.cost)


class _Rules(_Table):
    mode: Annotated[Mode, Field(strict=False)] | None = None
    hedge_after: HedgeAfter | None = None
    preference: Annotated[tuple[ChannelType, ...], Field(max_length=16, strict=False)] | None = None
    most_cost: _Cost | None = None
    channels: Annotated[dict[ChannelType, _Channel], Field(max_length=64)] = {}

    def rules(self) -> Rules:
        return Rules(
            self.mode,
            self.hedge_after,
            self.preference,
            self.most_cost,
            {kind: channel.rules() for kind, channel in self.channels.items()},
        )


class _File(_Rules):
    applications: Annotated[dict[ApplicationName, _Rules], Field(max_length=10_000)] = {}


def read_policy(path: Path, channels: Collection[str]) -> Policy:
    """The policy in a file. Raises PolicyRefused."""
    return parse_policy(read_octets(path), channels, file=str(path))


def read_octets(path: Path) -> bytes:
    """The content of the file, read only so far that a too large one is noticed.

    Raises PolicyRefused.
    """
    try:
        with open_regular(path) as file:
            return file.read(MAX_FILE + 1)
    except OSError as error:
        raise PolicyRefused(str(path), [("", f"cannot be read: {error.strerror}")]) from None


def parse_policy(octets: bytes, channels: Collection[str], *, file: str) -> Policy:
    """Parse the policy in ``octets``, which were read from ``file``.

    ``channels``: the installed channel types. Raises PolicyRefused with every wrong key, and what
    would be right.
    """
    if len(octets) > MAX_FILE:
        raise PolicyRefused(file, [("", f"is larger than {MAX_FILE} octets")])
    try:
        value = tomllib.loads(without_bom(octets).decode())
    except UnicodeDecodeError:
        raise PolicyRefused(file, [("", "is not UTF-8; save it as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        raise PolicyRefused(file, [("", f"is no TOML: {error}")]) from None
    except RecursionError:
        raise PolicyRefused(file, [("", "is nested too deeply")]) from None
    sections = {"": value}
    if isinstance(applications := value.get("applications"), dict):
        sections |= {f"{_key(('applications', name))}.": own for name, own in applications.items()}
    names = [fault for at, rules in sections.items() for fault in _names(at, rules, channels)]
    try:
        read = _File.model_validate(value)
    except ValidationError as error:
        parts = error.errors(include_input=False, include_url=False)
        faults = {_key(part["loc"]): _in_words(part) for part in parts}
        # A name that cannot be one of a channel is wrong in both ways.
        faults |= {key: fault for key, fault in names if key not in faults}
        raise PolicyRefused(file, list(faults.items())[:_MAX_FAULTS]) from None
    if names:
        raise PolicyRefused(file, names[:_MAX_FAULTS])
    return Policy(read.rules(), {name: own.rules() for name, own in read.applications.items()})


def _names(at: str, rules: object, known: Collection[str]) -> Iterable[tuple[str, str]]:
    """Faults in a section of the file: channels that do not exist, or are named twice."""
    table = rules if isinstance(rules, dict) else {}
    channels, preference = table.get("channels"), table.get("preference")
    named = list(channels) if isinstance(channels, dict) else []
    preferred = preference if isinstance(preference, list) else []
    preferred = [kind for kind in preferred if isinstance(kind, str)]
    places = {f"{at}{_key(('channels', kind))}": kind for kind in named}
    places |= {f"{at}preference[{place}]": kind for place, kind in enumerate(preferred)}
    for key, kind in places.items():
        if kind not in known:
            near = get_close_matches(kind, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "there are " + ", ".join(sorted(known))
            yield key, f"there is no channel {kind!r}; {hint}"
    if len(set(preferred)) != len(preferred):
        yield f"{at}preference", "names a channel twice; name each once, best first"


def _in_words(part: ErrorDetails) -> str:
    if part["type"] != "extra_forbidden":
        return in_words(part)
    *section, name = part["loc"]
    table = _Channel if "channels" in section else _Rules if section else _File
    near = get_close_matches(str(name), table.model_fields, n=1)
    hint = f"did you mean {near[0]}?" if near else "there are " + ", ".join(table.model_fields)
    return f"there is no such key; {hint}"


def _key(location: Iterable[int | str]) -> str:
    """The key as written in the file, with quotes around parts that are no bare TOML keys."""
    key = ""
    for part in location:
        if part == "[key]":
            continue
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            bare = part.replace("_", "").replace("-", "").isalnum() and part.isascii()
            key += ("." if key else "") + (part if bare else f'"{part}"')
    return key
