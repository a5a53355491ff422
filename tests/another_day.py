"""The option ``--another-day``: leave out slow tests whose result no date can change.

`make test-dates` runs with it. The tests named here build and install packages, read source files,
simulate, generate random input for code without a clock, start and kill processes to see what
becomes of files, sockets and signals, or do again what others do. Certificates, tokens and
everything that expires stay in the run: a test that needs one of these to pass is not named here,
unless one that stays needs the same. Properties that stay are tried with the few examples of
Hypothesis' profile ``dates``.
"""

from __future__ import annotations

from typing import Final

import pytest

ON_ANY_DAY: Final = {
    "tests/acceptance/daemon/test_commands.py::test_settings_from_a_file": "settings from a file",
    "tests/acceptance/daemon/test_commands.py::test_what_is_wrong_is_told": "wrong arguments",
    "tests/acceptance/daemon/test_commands.py::test_without_a_daemon": "no daemon at the socket",
    "tests/acceptance/daemon/test_documented.py": "files, processes and commands of a page",
    "tests/acceptance/daemon/test_hostile_apps.py": "malformed input and limits at a local socket",
    "tests/acceptance/daemon/test_killed.py": "kill -9 of the daemon, many times",
    "tests/acceptance/daemon/test_network.py": "interfaces and addresses of a network namespace",
    "tests/acceptance/daemon/test_running.py": "files, locks, signals and settings of a process",
    "tests/acceptance/test_demo.py::test_parts_that_cannot_be_had": "wrong addresses of servers",
    "tests/acceptance/test_demo.py::test_twice_on_one_store": "the demo again, twice",
    "tests/acceptance/test_docs.py": "builds the documentation and reads its pages",
    "tests/acceptance/test_first_notification.py::test_the_tutorial": "the README again",
    "tests/acceptance/test_memory_killed.py": "kill -9 of `aoi up`, three times",
    "tests/acceptance/test_release.py::test_the_extra_for_tests_sends_a_notification": "the wheel",
    "tests/acceptance/test_release.py::test_the_wheel_alone_sends_a_notification": "the demo again",
    "tests/acceptance/test_sample_project.py": "builds the wheel, runs mypy and tests with it",
    "tests/conformance/channel/test_plugins.py": "random settings of channels, without a clock",
    "tests/integration/benchmarks/": "simulations, in their own time",
    "tests/integration/cli/test_processes.py": "ports, signals and exit codes of a process",
    "tests/integration/cli/test_terminal.py": "text and colours at a terminal",
    "tests/integration/client/test_killed.py": "kill -9 of a process that saves",
    "tests/integration/endpoint/test_described.py": "random requests against the OpenAPI document",
    "tests/integration/endpoint/test_hostile.py": "malformed input and limits at a port",
    "tests/integration/sms/test_hostile_smsc.py": "malformed answers of an SMSC",
    "tests/integration/store/test_closing.py": "connections and threads of a store",
    "tests/integration/store/test_migrations.py": "tables of an empty database",
    "tests/integration/testing/test_plugin.py": "what pytest loads and reports in other projects",
    "tests/unit/benchmarks/": "simulations, in their own time",
    "tests/unit/cli/test_commands.py": "which modules a command imports",
    "tests/unit/client/test_any_history.py": "random histories, in their own time",
    "tests/unit/contracts/": "random messages against schemas, without a clock",
    "tests/unit/docs/": "reads the pages of the documentation",
    "tests/unit/domain/test_breaker.py": "random histories, in their own time",
    "tests/unit/domain/test_delivery_machine.py": "random histories, in their own time",
    "tests/unit/domain/test_later_words.py": "histories, in their own time",
    "tests/unit/domain/test_story.py": "random histories, in their own time",
    "tests/unit/gateway/test_connections_fuzz.py": "random events, in their own time",
    "tests/unit/gateway/test_session_fuzz.py": "random frames, in their own time",
    "tests/unit/test_dates.py": "reads the source of the tests",
    "tests/unit/test_floors.py": "reads the imports of each module",
    "tests/unit/test_language.py": "reads the text of the source",
    "tests/unit/test_names.py": "reads the names in the source",
    "tests/unit/test_without_containers.py": "runs pytest in small projects",
}
"""Folders, files and tests, and what these tests are about."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--another-day",
        action="store_true",
        help="leave out the tests of tests/another_day.py: slow, and the same on any date",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is the same on any date."""
    if config.getoption("--another-day"):
        config.hook.pytest_deselected(items=[item for item in items if is_left_out(item.nodeid)])
        items[:] = [item for item in items if not is_left_out(item.nodeid)]


def is_left_out(nodeid: str) -> bool:
    """Whether the test of this ID is the same on any date."""
    if nodeid.partition("[")[0] in ON_ANY_DAY:
        return True
    return nodeid.startswith(tuple(place for place in ON_ANY_DAY if "::" not in place))
