"""The OpenAPI document: current, and about what there is."""

from __future__ import annotations

import re
from pathlib import Path

import aoi_events.endpoint
from aoi_events.endpoint.api import NOTIFICATION_PATH, NOTIFICATIONS_PATH
from aoi_events.endpoint.openapi import OPENAPI_PATH, openapi, openapi_text
from aoi_events.endpoint.push import MESSAGE_PATH, PUSH_PATH


def test_the_committed_document_is_current() -> None:
    """openapi.json is current."""
    committed = Path(aoi_events.endpoint.__file__).with_name("openapi.json")
    assert committed.read_text(encoding="utf-8") == openapi_text(), (
        "run: aoi contracts --openapi > aoi_events/endpoint/openapi.json"
    )


def test_it_names_every_path_and_every_reference_resolves() -> None:
    """Every route is described, and no schema is missing or unused."""
    document = openapi()
    assert set(document["paths"]) == {
        PUSH_PATH,
        MESSAGE_PATH,
        NOTIFICATIONS_PATH,
        NOTIFICATION_PATH,
        OPENAPI_PATH,
    }
    references = set(re.findall(r'"#/components/schemas/(\w+)"', openapi_text()))
    assert references == set(document["components"]["schemas"])
