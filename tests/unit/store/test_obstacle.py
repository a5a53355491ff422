"""The messages for a schema that is not this version's."""

from __future__ import annotations

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from aoi_events.store.schema import MIGRATIONS, known_revisions, obstacle_of


def test_the_newest_schema_is_no_obstacle() -> None:
    """A store at the newest revision can be used."""
    assert obstacle_of("0002", ["0002", "0001"]) is None


@pytest.mark.parametrize("found", [None, "0001", "0003"], ids=["none", "older", "newer"])
def test_every_other_schema_is_refused_with_advice(found: str | None) -> None:
    """Whether it is missing, older or newer: the command is named, and the revision if any."""
    said = obstacle_of(found, ["0002", "0001"])
    assert said is not None
    assert "aoi db upgrade" in said
    assert (found or "") in said


def test_a_newer_schema_is_not_to_be_upgraded() -> None:
    """A schema from the future asks for another version, not for a command."""
    said = obstacle_of("0003", ["0002", "0001"])
    assert said is not None
    assert "only goes forward" in said


def test_the_known_revisions_are_those_of_alembic() -> None:
    """The revisions read from the file names are Alembic's, in its order."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    assert known_revisions() == tuple(script.revision for script in scripts)
