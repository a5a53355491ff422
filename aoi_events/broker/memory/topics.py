"""Topic matching as AMQP 0-9-1 defines it (section 3.1.3.3) and RabbitMQ does it."""

from __future__ import annotations


def matches(pattern: str, routing_key: str) -> bool:
    """Whether ``pattern`` matches ``routing_key``.

    Both are words separated by dots; ``*`` stands for exactly one word, ``#`` for zero or more.
    A word may be empty (``a..b`` has three), and the empty string has no words at all.
    """
    words = _words(routing_key)
    # reachable[n]: the pattern so far can take exactly the first n words.
    reachable = [True] + [False] * len(words)
    for part in _words(pattern):
        if part == "#":
            first = reachable.index(True) if True in reachable else len(reachable)
            reachable = [position >= first for position in range(len(reachable))]
        else:
            reachable = [False] + [
                before and part in ("*", word)
                for before, word in zip(reachable, words, strict=False)
            ]
    return reachable[-1]


def _words(text: str) -> list[str]:
    return text.split(".") if text else []
