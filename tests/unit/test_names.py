"""One word, one thing: the names of classes."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Final

from tests.support.pages import ROOT

TWICE: Final = {
    "Application": "an app instance: to the app that has it, and as a row of the server",
    "Notification": "a notification: to the app that gets it, and as a row of the server",
}
"""Names that two classes may have, and why."""


def test_no_two_classes_have_one_name() -> None:
    """A name that is not private leads to one class of the package."""
    places = defaultdict(list)
    for path in sorted((ROOT / "aoi_events").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    found = {name: found for name, found in places.items() if len(found) > 1}
    assert found.keys() == TWICE.keys(), found
