"""Plain language: words that a first sentence and a text for users do without.

The words are common ones that stood for terms here (``told`` for reported, ``held`` for stored or
paused), and subjects that make a reader guess (``whoever``, ``nobody``, ``What …``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = re.compile(
    r"\b(?:tell|tells|told|said|hear|hears|heard|held|kept|rests|whoever|nobody|somebody)\b",
    re.IGNORECASE,
)
RIDDLE = re.compile(r"(?:What|Whatever|Whoever|Who)\b[^?]*$")
"""A sentence that begins with a relative clause; a question may begin so."""
LOGGED = frozenset({"debug", "info", "warning", "error", "exception", "critical"})


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.?:;])\s", text)[0]


def docstring_faults(source: str) -> Iterator[str]:
    """The first sentences that break the rule."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            sentence = first_sentence(ast.get_docstring(node) or "")
            if WORDS.search(sentence) or RIDDLE.match(sentence):
                yield f"{getattr(node, 'lineno', 1)}: {sentence}"


def string_faults(tree: ast.AST) -> Iterator[str]:
    """Strings of any kind that break the rule."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if WORDS.search(text) or RIDDLE.match(first_sentence(text)):
                yield f"{node.lineno}: {text}"


def attribute_faults(source: str) -> Iterator[str]:
    """Docstrings of attributes that break the rule: settings and enums become documentation."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef):
            for before, after in pairwise(node.body):
                if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
                    yield from string_faults(after)


def constant_faults(source: str) -> Iterator[str]:
    """Strings of a module for users that break the rule."""
    return string_faults(ast.parse(source))


def text_faults(source: str) -> Iterator[str]:
    """Help texts, names of log events and error messages that break the rule."""
    for node in ast.walk(ast.parse(source)):
        texts: list[ast.expr] = []
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            texts = node.exc.args
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            texts = [each.value for each in node.keywords if each.arg == "help"]
            texts += node.args[:1] if name in LOGGED else []
        for text in texts:
            for part in ast.walk(text):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    plain = part.value.replace("_", " ")
                    if WORDS.search(plain):
                        yield f"{part.lineno}: {part.value}"


SOURCES = sorted(
    str(file.relative_to(ROOT))
    for room in ("aoi_events", "workers")
    for file in (ROOT / room).rglob("*.py")
)


SHOWN = (
    "aoi_events/cli/demo/play.py",
    "aoi_events/cli/demo/story.py",
    "aoi_events/cli/demo/timeline.py",
    "aoi_events/endpoint/openapi.py",
    "aoi_events/telemetry/catalogue.py",
)
"""Modules whose strings are shown to users: the demo, OpenAPI, and the meanings of metrics."""


@pytest.mark.parametrize(
    "faults, names",
    [
        (docstring_faults, SOURCES),
        (attribute_faults, SOURCES),
        (text_faults, SOURCES),
        (constant_faults, SHOWN),
    ],
)
def test_texts_are_plain(faults: Callable[[str], Iterator[str]], names: Sequence[str]) -> None:
    """Docstrings of attributes, first sentences of others, and texts for users are plain."""
    found = [
        f"{name}:{fault}"
        for name in names
        for fault in faults((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert not found, "write these plainly:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        '"""What was handed over."""',
        'def f():\n    """Tell the worker."""',
        'class A:\n    """Nobody waits."""',
    ],
)
def test_a_riddle_in_a_docstring_is_found(source: str) -> None:
    """Modules, functions and classes are looked at, beginnings and words."""
    assert list(docstring_faults(source))


@pytest.mark.parametrize(
    "source",
    [
        'log.warning("answer_told")',
        'raise ValueError(f"nobody took {name}")',
        'typer.Option(help="what is told")',
    ],
)
def test_a_riddle_for_users_is_found(source: str) -> None:
    """Log events, errors and help texts are looked at."""
    assert list(text_faults(source))


@pytest.mark.parametrize(
    "source",
    [
        'limit = 1\n"""What it may cost."""',
        'class A:\n    limit: int = 1\n    """Rows that are stored. They are kept for a day."""',
    ],
)
def test_a_riddle_in_the_docstring_of_an_attribute_is_found(source: str) -> None:
    """Attributes of modules and of classes are looked at, their whole docstrings."""
    assert list(attribute_faults(source))


@pytest.mark.parametrize(
    "source",
    [
        'Definition("a_total", "counter", "Requests that nobody waited for.")',
        'say("phone", f"{name} was told by SMS")',
        'TEXTS = {503: "Nobody can answer"}',
    ],
)
def test_a_riddle_in_a_string_is_found(source: str) -> None:
    """Arguments, parts of f-strings and values are looked at."""
    assert list(constant_faults(source))


def test_a_plain_sentence_passes() -> None:
    """A question may begin with What; later sentences of a function are not looked at."""
    assert not list(docstring_faults('"""What does a plan cost? It is said below."""'))
    assert not list(attribute_faults('limit = 1\n"""The largest number of rows."""'))
