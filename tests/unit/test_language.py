"""Plain language: words that a first sentence and a text for users do without.

The words are common ones that stood for terms here (``told`` for reported, ``held`` for stored or
paused), and subjects that make a reader guess (``whoever``, ``nobody``, ``What …``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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


@pytest.mark.parametrize("faults", [docstring_faults, text_faults])
def test_texts_are_plain(faults: object) -> None:
    """First sentences of docstrings, and texts for users, need none of the words."""
    found = [
        f"{name}:{fault}"
        for name in SOURCES
        for fault in faults((ROOT / name).read_text(encoding="utf-8"))  # type: ignore[operator]
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


def test_a_plain_sentence_passes() -> None:
    """A question may begin with What; later sentences are not looked at."""
    assert not list(docstring_faults('"""What does a plan cost? It is said below."""'))
