"""Writes the JSON Schema (2020-12) of all contracts, as one deterministic document.

``schema.json`` beside this file is its committed copy; a test holds it current. To renew it:
``python -m aoi_events.contracts.schema > aoi_events/contracts/schema.json``.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from aoi_events.contracts.answers import ANSWERS
from aoi_events.contracts.apps import APP_REQUESTS, ClientFrame
from aoi_events.contracts.device import DeviceFrame, ServerFrame
from aoi_events.contracts.envelopes import DeliveryBatchV1, OutcomeBatchV1
from aoi_events.contracts.events import EVENT_KINDS, CloudEvent
from aoi_events.contracts.push import PushFrame
from aoi_events.contracts.requests import REQUESTS
from aoi_events.contracts.webpush import WEBPUSH_SUBPROTOCOL, BrowserMessage, ServiceMessage

_ENVELOPES: Final[dict[str, type[BaseModel]]] = {
    "delivery.batch.v1": DeliveryBatchV1,
    "outcome.batch.v1": OutcomeBatchV1,
}
_TAGS: Final = ("kind", "type", "about", "messageType")


def schemas() -> dict[str, Any]:
    """The schema of every contract: requests by routing key, answers by AMQP ``type``, events by
    CloudEvents ``type``, envelopes between our workers, and frames of both device protocols by
    sender and ``type`` (or subprotocol and ``messageType``); the bodies of pushes and the app
    protocol like those of the first protocol. Shared definitions are under ``$defs``.
    """
    groups: dict[str, dict[str, type[BaseModel]]] = {
        "requests": dict(REQUESTS),
        "answers": dict(ANSWERS),
        "events": {f"aoi.{kind}.v1": CloudEvent for kind in EVENT_KINDS},
        "envelopes": _ENVELOPES,
        "device_frames": _frames(get_args(DeviceFrame)),
        "server_frames": _frames(get_args(ServerFrame)),
        "push_frames": _frames(get_args(PushFrame)),
        "browser_messages": _messages(get_args(BrowserMessage)),
        "service_messages": _messages(get_args(ServiceMessage)),
        "app_requests": dict(APP_REQUESTS),
        "client_frames": _frames(get_args(ClientFrame)),
    }
    models = dict.fromkeys(model for group in groups.values() for model in group.values())
    references, definitions = models_json_schema(
        [(model, "validation") for model in models],
        title="aoi-events",
        description="Everything that crosses the wire of aoi-events.",
    )
    for definition in definitions["$defs"].values():
        _require_tags(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": definitions["title"],
        "description": definitions["description"],
        **{
            group: {name: references[model, "validation"] for name, model in members.items()}
            for group, members in groups.items()
        },
        "$defs": dict(sorted(definitions["$defs"].items())),
    }


def schema_text() -> str:
    """The text of ``schema.json``: indented UTF-8 JSON with a newline at the end."""
    return json.dumps(schemas(), indent=2, ensure_ascii=False) + "\n"


def _require_tags(definition: dict[str, Any]) -> None:
    """Mark the fields that distinguish the members of a union as required, although they have
    defaults.
    """
    for name in _TAGS:
        if "const" in definition.get("properties", {}).get(name, {}):
            required = definition.setdefault("required", [])
            if name not in required:
                required.insert(0, name)


def _frames(models: tuple[type[BaseModel], ...]) -> dict[str, type[BaseModel]]:
    return {model.model_fields["type"].default: model for model in models}


def _messages(models: tuple[type[BaseModel], ...]) -> dict[str, type[BaseModel]]:
    named = ((model.model_fields["kind"].default, model) for model in models)
    return {f"{WEBPUSH_SUBPROTOCOL}.{kind}": model for kind, model in named}


if __name__ == "__main__":
    sys.stdout.write(schema_text())
