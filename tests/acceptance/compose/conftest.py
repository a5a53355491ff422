"""One stack for every test of this folder; they only add to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.compose.stack import Stack


@pytest.fixture(scope="package")
def stack(docker_engine: None) -> Iterator[Stack]:
    """The stack as it comes up when nobody set anything: every worker, no SMSC."""
    stack = Stack()
    try:
        # Nothing but the project's own build takes long, and only the first time on a machine.
        stack.compose("build", "--quiet", within=400)
        stack.up()
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="package")
def passwords(stack: Stack) -> dict[str, str]:
    """Every password that the stack made for itself."""
    return stack.passwords()
