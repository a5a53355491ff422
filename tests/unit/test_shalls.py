"""Every SHALL of the standard's procedures has a test that names it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CLIENT = "unit/client"
SERVER = "integration/services"

SHALLS = {
    "8.1.1 issues a registration request on installation": (
        f"{CLIENT}/test_registration.py",
        '8.1.1: "Upon installation/activation of the AOI Client',
    ),
    "8.1.1 issues one when an app asks while unregistered": (
        f"{CLIENT}/test_registration.py",
        "8.1.1: an app's request",
    ),
    "8.1.1 stores the assigned AOI Client ID": (
        f"{CLIENT}/test_registration.py",
        '8.1.1: "the AOI Client SHALL store the assigned AOI Client ID',
    ),
    "8.1.1 registers again when the user's identity changes": (
        f"{CLIENT}/test_registration.py",
        '8.1.1: upon "any event that changes the identity of the user',
    ),
    "8.1.2 performs what activates the selected channels": (
        f"{CLIENT}/test_activation.py",
        '8.1.2: "the AOI Client SHALL perform any action to activate them"',
    ),
    "8.1.2 activates upon a change of the network": (
        f"{CLIENT}/test_activation.py",
        '8.1.2: "the data connection switches from 3G to Wi-Fi"',
    ),
    "8.1.2 activates upon a new address": (
        f"{CLIENT}/test_activation.py",
        '8.1.2: "the user gets a new IP address"',
    ),
    "8.1.4 forwards the notification to the app instance of its token": (
        f"{CLIENT}/test_delivery.py",
        '8.1.4: "SHALL forward the notification to the Application Client instance',
    ),
    "8.2.1 communicates the result with the AOI Client ID": (
        f"{SERVER}/test_registration.py",
        '"SHALL communicate the result of the registration"',
    ),
    "8.2.1 stores the result": (
        f"{SERVER}/test_registration.py",
        '"SHALL be stored on AOI Server for future usage"',
    ),
    "8.2.2 selects the most appropriate channels": (
        f"{SERVER}/test_channels.py",
        '"SHALL select the most appropriate notification channel(s)"',
    ),
    "8.2.2 takes what the client says into account": (
        f"{SERVER}/test_channels.py",
        '"taking into account the information received from the AOI Client"',
    ),
    "8.2.2 activates the channels": (f"{SERVER}/test_channels.py", '"SHALL activate"'),
    "8.2.2 communicates the selected channels": (
        f"{SERVER}/test_channels.py",
        '"SHALL communicate" them',
    ),
    "8.2.2 stores the result": (f"{SERVER}/test_channels.py", 'the result "SHALL be stored"'),
}
"""What the standard requires → the file of its test, and words of that test's docstring."""


@pytest.mark.parametrize("shall", SHALLS)
def test_a_test_names_it(shall: str) -> None:
    """The SHALL is quoted in the docstring of exactly one test, under its clause."""
    file, words = SHALLS[shall]
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    docstrings = [
        " ".join((ast.get_docstring(node) or "").split())
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]
    quoting = [text for text in docstrings if words in text and shall[:5] in text]
    assert len(quoting) == 1, f"{file} should quote {words!r} once, in a test of {shall[:5]}"
