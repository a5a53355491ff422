"""Text from outside, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with its control characters escaped, which a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def without_secrets(url: str) -> str:
    """``url`` without user, password and query, also if it is no valid URL."""
    scheme, separator, rest = url.rpartition("://")
    rest = rest.rpartition("@")[2].partition("#")[0].partition("?")[0]
    return f"{scheme}{separator}{rest}"
