"""The option ``--another-day`` leaves out what it names, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.another_day import ON_ANY_DAY, is_left_out

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("start", ON_ANY_DAY)
def test_each_entry_is_of_tests_that_there_are(start: str) -> None:
    """A file, folder or test that was renamed does not come back into the run unseen."""
    path, _, name = start.partition("::")
    assert (ROOT / path).exists()
    assert path.endswith(("/", ".py"))
    assert not name or f"def {name}(" in (ROOT / path).read_text()


def test_a_test_is_left_out_by_the_beginning_of_its_id() -> None:
    """Folders, files and single tests with all parameters; their neighbours stay."""
    assert is_left_out("tests/unit/benchmarks/test_playing.py::test_it")
    assert is_left_out("tests/acceptance/test_demo.py::test_parts_that_cannot_be_had[x]")
    assert not is_left_out("tests/acceptance/test_demo.py::test_the_whole_story")
    assert not is_left_out("tests/acceptance/test_demo.py::test_twice_on_one_store_of_others")
    assert not is_left_out("tests/acceptance/tests/unit/docs/test_pages.py::test_it")


def test_only_the_option_leaves_them_out(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it all tests run."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    for path in ("tests/unit/test_floors.py", "tests/unit/test_others.py"):
        file = pytester.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("def test_it():\n    pass\n")
    run = ("-p", "tests.another_day")
    pytester.runpytest_subprocess(*run).assert_outcomes(passed=2)
    pytester.runpytest_subprocess(*run, "--another-day").assert_outcomes(passed=1, deselected=1)
    chosen = pytester.runpytest_subprocess(*run, "--another-day", "--collect-only", "-q")
    assert chosen.outlines[0] == "tests/unit/test_others.py::test_it"
