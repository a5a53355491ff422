"""Text from outside, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with its control characters escaped, which a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
