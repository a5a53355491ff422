"""What pytest-xdist keeps together: tests in each other's way, and those that share a lot."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

ALONE: Final = "alone"
GROUPS: Final = {
    # Servers that are stopped and starved, a dozen workers as processes, whole stacks, a Firefox:
    # each wants much of the machine, so one of them runs at a time.
    "tests/acceptance/browser/": ALONE,
    "tests/acceptance/compose/": ALONE,
    "tests/acceptance/test_bad_input.py": ALONE,
    "tests/acceptance/test_cluster.py": ALONE,
    "tests/acceptance/test_dying.py": ALONE,
    "tests/acceptance/test_killed.py": ALONE,
    "tests/acceptance/test_memory_killed.py": ALONE,
    "tests/acceptance/test_restarts.py": ALONE,
    "tests/acceptance/test_signals.py": ALONE,
    "tests/integration/broker/test_faults.py": ALONE,
    "tests/integration/broker/test_older_queues.py": ALONE,
    "tests/integration/broker/test_silence.py": ALONE,
    "tests/integration/broker/test_worker_pauses.py": ALONE,
    "tests/integration/store/test_failover.py": ALONE,
    # One build of the documentation.
    "tests/acceptance/test_docs.py": "docs",
    # One wheel, and one environment with it.
    "tests/acceptance/test_sample_project.py": "wheel",
}


def group_of(nodeid: str) -> str | None:
    """The group of a test, which runs in one process; None where it may run beside any other."""
    for start, group in GROUPS.items():
        if nodeid.startswith(start):
            return group
    return None


class Scheduling(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist ships no types
    """A group is one piece of work, and so is each test of none; the longest group comes first."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid) or nodeid
