"""Reads the README and the pages of the documentation, and the code blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block. ``line`` is that of its fence, ``heading`` the nearest one above it."""

    page: str
    line: int
    heading: str
    language: str
    code: str


def pages() -> list[str]:
    """README and all pages, as paths from the root of the repository."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", *(name for name in found if not name.startswith("docs/_"))]


@cache
def text_of(page: str) -> str:
    """The text of a page, which is named from the root of the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str = "", heading: str = "") -> list[Block]:
    """The code blocks of a page, in order: all, of one language, or below one heading."""
    return [
        each
        for each in blocks_of(page, text_of(page))
        if language in ("", each.language) and heading in ("", each.heading)
    ]


def block(page: str, language: str, heading: str = "") -> str:
    """The code of the only such block."""
    (found,) = blocks(page, language, heading)
    return found.code


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Every block of a page with this text; directives of MyST (``{name}``) are none."""
    heading, info, lines, start = "", None, list[str](), 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        fence = _FENCE.match(line)
        if info is None and fence:
            info, lines, start = fence["info"].strip(), [], number
        elif fence:
            assert info is not None
            if not info.startswith("{"):
                yield Block(page, start, heading, info, "".join(lines))
            info = None
        elif info is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
