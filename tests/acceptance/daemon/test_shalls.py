"""8.1 of the standard, SHALL by SHALL, on the daemon as a process: which test shows it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.unit.test_shalls import SHALLS as OF_THE_LIBRARY

HERE = Path(__file__).parent

PROCEDURES = """
8.1.1
Upon installation/activation of the AOI Client or upon receiving an Application Client registration
requests whilst the AOI Client is not registered to the AOI Server, the AOI Client SHALL issue an
AOI Client registration request to the AOI Server.
Upon receiving the AOI Client registration confirmation from the AOI Server, the AOI Client SHALL
store the assigned AOI Client ID for use in future requests.
Upon any event that changes the identity of the user of an AOI Client that is already registered,
the AOI Client SHALL issue a new of AOI Client registration request to the AOI Server.
8.1.2
Upon receiving confirmation from the AOI Server of the selected notification channel(s), the AOI
Client SHALL perform any action to activate them, if needed.
Upon any event that affects the notification channel(s) that can be used by the AOI Server to
deliver notifications to the AOI Client, the AOI Client SHALL issue a Notification Channel
Activation request to the AOI Server to indicate the change in the nature or characteristics of the
notification channel(s).
8.1.4
Upon receiving a notification request from the AOI Server the AOI Client SHALL forward the
notification to the Application Client instance matching the Application Client Token provided in
the notification request, if the Application Client is running or otherwise configured to be woken
up.
"""
"""Every sentence of 8.1 that says SHALL, without its examples."""

SHALLS = {
    "8.1.1 issues a registration request on installation": (
        "SHALL issue an AOI Client registration request",
        "test_procedures.test_it_registers_upon_installation",
    ),
    "8.1.1 issues one when an app asks while unregistered": (
        "SHALL issue an AOI Client registration request",
        "test_procedures.test_it_registers_when_the_first_app_asks",
    ),
    "8.1.1 stores the assigned AOI Client ID": (
        "SHALL store the assigned AOI Client ID",
        "test_procedures.test_it_keeps_its_id_for_future_requests",
    ),
    "8.1.1 registers again when the user's identity changes": (
        "SHALL issue a new of AOI Client registration request",
        "test_identity.test_another_user_gets_another_registration",
    ),
    "8.1.2 performs what activates the selected channels": (
        "SHALL perform any action to activate them",
        "test_procedures.test_it_does_what_the_selected_channel_needs",
    ),
    "8.1.2 activates upon a change of the network": (
        "SHALL issue a Notification Channel Activation request",
        "test_network.test_another_network_is_told_to_the_server",
    ),
    "8.1.2 activates upon a new address": (
        "SHALL issue a Notification Channel Activation request",
        "test_network.test_a_new_address_is_told_to_the_server",
    ),
    "8.1.4 forwards the notification to the app instance of its token": (
        "SHALL forward the notification to the Application Client instance",
        "test_delivering.test_an_app_that_runs_gets_its_notification",
    ),
    "8.1.4 wakes an app instance that is configured to be woken": (
        "SHALL forward the notification to the Application Client instance",
        "test_delivering.test_an_app_that_does_not_run_is_woken",
    ),
}
"""What the standard requires → words of the sentence, and the acceptance test that shows it."""


def sentences() -> dict[str, str]:
    """The sentences with a SHALL → their clause."""
    found: dict[str, str] = {}
    for clause, text in re.findall(r"^(8\.1\.\d)\n((?:(?!^8).*\n)+)", PROCEDURES, re.MULTILINE):
        for sentence in re.split(r"(?<=\.) ?\n?(?=Upon)", " ".join(text.split())):
            found[sentence] = clause
    return found


@pytest.mark.parametrize("shall", SHALLS)
def test_a_test_shows_it(shall: str) -> None:
    """The row names a test that is there, runs the daemon, and says the clause in its docstring."""
    words, name = SHALLS[shall]
    (clause,) = [clause for sentence, clause in sentences().items() if words in sentence]
    assert shall.startswith(clause)
    module, _, function = name.partition(".")
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    (test,) = [
        node
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef) and node.name == function
    ]
    assert clause in (ast.get_docstring(test) or ""), f"{name} should say {clause}"
    used = {argument.arg for argument in test.args.args}
    assert used & {"machine", "connected"}, f"{name} should run the daemon"
    assert not test.decorator_list, f"{name} should always run"


def test_no_shall_without_a_row() -> None:
    """Every sentence has a row, and whatever is shown of the library is shown of the daemon."""
    every = sentences()
    assert sum("SHALL" in sentence for sentence in every) == len(every) == 6
    for sentence in every:
        assert any(words in sentence for words, _ in SHALLS.values()), sentence
    assert {shall for shall in OF_THE_LIBRARY if shall.startswith("8.1.")} <= SHALLS.keys()
