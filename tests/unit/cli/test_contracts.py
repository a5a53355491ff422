"""``aoi contracts``: what somebody reads who writes a client in another language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aoi_events.contracts
from aoi_events.endpoint.openapi import openapi_text
from tests.support.commands import Cli

COMMITTED = Path(aoi_events.contracts.__file__).parent / "schema.json"


def test_the_whole_is_the_committed_schema(cli: Cli) -> None:
    """Without a name it prints what stands in the repository."""
    ran = cli("contracts")
    assert ran.code == 0
    assert ran.json == json.loads(COMMITTED.read_text())


@pytest.mark.parametrize(
    "name, contract",
    [
        ("SendNotificationV1", "SendNotificationV1"),
        ("notification.send", "SendNotificationV1"),
        ("notification.accepted.v1", "NotificationAcceptedV1"),
        ("aoi.notification.delivered.v1", "CloudEvent"),
        ("delivery.batch.v1", "DeliveryBatchV1"),
        ("hello", "HelloFrame"),
        ("push-notification.nack", "NackMessage"),
    ],
)
def test_one_contract_by_any_of_its_names(cli: Cli, name: str, contract: str) -> None:
    """A contract's name, a routing key or a type prints a schema that stands by itself."""
    ran = cli("contracts", name)
    assert ran.code == 0
    assert ran.json["$ref"] == f"#/$defs/{contract}"
    defined = set(ran.json["$defs"])
    referred = {reference.partition('"')[0] for reference in ran.out.split('"#/$defs/')[1:]}
    assert referred == defined


def test_an_unknown_contract_is_told_with_those_near_it(cli: Cli) -> None:
    """A typing error ends with 2 and shows what was meant."""
    ran = cli("contracts", "notification.sned")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no contract 'notification.sned'; near it: notification.send" in ran.err


def test_a_name_like_none_gets_the_whole_list(cli: Cli) -> None:
    """Where nothing is near, all names are told."""
    ran = cli("contracts", "%%%")
    assert ran.code == 2
    assert "client.register" in ran.err
    assert "SendNotificationV1" in ran.err


def test_the_endpoints_document(cli: Cli) -> None:
    """``--openapi`` prints what the endpoint serves, as the committed copy has it."""
    assert cli("contracts", "--openapi").out == openapi_text()
