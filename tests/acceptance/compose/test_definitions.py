"""The broker's definitions fit what the code declares, publishes and takes; no container needed."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from aoi_events.bootstrap.plugins import configure, installed_plugins
from aoi_events.broker.rabbitmq.declare import CONSUMER_TIMEOUT
from aoi_events.contracts.device import DEVICE_REQUESTS
from aoi_events.contracts.events import EVENT_KINDS, event_routing_key
from aoi_events.contracts.requests import GATEWAY_ONLY
from aoi_events.contracts.requests import REQUESTS as ALL_REQUESTS
from aoi_events.contracts.senders import SENDER_REQUESTS
from aoi_events.errors import ConfigurationError
from aoi_events.topology import (
    EVENTS,
    OUTCOMES,
    PROBES,
    QUARANTINES,
    REQUESTS,
    gateway_queue,
    hints_queue,
    topology,
)
from tests.acceptance.compose.stack import COMPOSE

TEMPLATE: dict[str, Any] = json.loads((COMPOSE / "broker" / "definitions.json").read_text())
TOPOLOGY = topology(["sms", "webhook", "webpush"])
QUEUES = {queue.name for queue in TOPOLOGY.queues}
NAMES = QUEUES | {exchange.name for exchange in TOPOLOGY.exchanges}
CHANNELS = ("aoi-sms", "aoi-webhook", "aoi-webpush")
TAKES = {
    "aoi-registration": {"aoi.registration", "aoi.registration.quarantine"},
    "aoi-activation": {"aoi.activation", "aoi.activation.quarantine"},
    "aoi-notification": {"aoi.notification", "aoi.notification.quarantine"},
    "aoi-sms": {"aoi.delivery.sms", "aoi.delivery.sms.quarantine"},
    "aoi-webhook": {"aoi.delivery.webhook", "aoi.delivery.webhook.quarantine"},
    "aoi-webpush": {"aoi.delivery.webpush", "aoi.delivery.webpush.quarantine"},
    "aoi-outcome": {"aoi.outcome", "aoi.outcome.quarantine"},
    "aoi-deadlines": {"aoi.dead", "aoi.unroutable", "aoi.unroutable.quarantine"},
    "aoi-gateway": set(),
    "aoi-endpoint": set(),
}


@pytest.fixture(scope="module")
def credentials() -> ModuleType:
    """The program that fills the template in."""
    spec = importlib.util.spec_from_file_location("credentials", COMPOSE / "credentials.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def may(user: str, what: str, name: str) -> bool:
    """Whether the definitions let ``user`` configure, write or read ``name``."""
    (row,) = [row for row in TEMPLATE["permissions"] if row["user"] == user]
    return re.search(row[what], name) is not None


def may_topic(user: str, exchange: str, what: str, key: str) -> bool:
    """The same for a routing key or a binding pattern, on one exchange."""
    (row,) = [
        row
        for row in TEMPLATE["topic_permissions"]
        if (row["user"], row["exchange"]) == (user, exchange)
    ]
    return re.search(row[what], key) is not None


def test_there_is_a_user_for_every_worker() -> None:
    """Each launcher of workers/ has a broker user of its own, with permissions and topic rules."""
    launchers = {f"aoi-{file.stem}" for file in (COMPOSE.parent / "workers").glob("[a-z]*.py")}
    users = {user["name"] for user in TEMPLATE["users"]}
    assert users == launchers | {"aoi-setup", "shop", "operator"}
    assert {row["user"] for row in TEMPLATE["permissions"]} == users
    topics = [(row["user"], row["exchange"]) for row in TEMPLATE["topic_permissions"]]
    exchanges = (REQUESTS, EVENTS, QUARANTINES, PROBES)
    assert sorted(topics) == sorted((user, each) for user in users for each in exchanges)


def test_setup_may_declare_the_whole_topology() -> None:
    """`aoi-setup` may make and bind everything there is, and publish into none of the queues."""
    for name in NAMES:
        assert all(may("aoi-setup", what, name) for what in ("configure", "write", "read")), name
    for queue in TOPOLOGY.queues:
        for binding in queue.bindings:
            if binding.exchange in (REQUESTS, QUARANTINES):
                assert may_topic("aoi-setup", binding.exchange, "read", binding.pattern)


def test_the_queues_of_an_earlier_version_get_the_timeout_by_a_policy() -> None:
    """A queue that exists keeps its arguments; the policy says the same for each of them."""
    (policy,) = TEMPLATE["policies"]
    assert policy["definition"] == {"consumer-timeout": CONSUMER_TIMEOUT}
    assert [name for name in QUEUES if not re.search(policy["pattern"], name)] == []


@pytest.mark.parametrize("user", sorted(TAKES))
def test_a_worker_takes_from_its_own_queues_only(user: str) -> None:
    """A worker may read the queues that it consumes, no others, and make no durable one."""
    assert {name for name in QUEUES if may(user, "read", name)} == TAKES[user]
    assert not [name for name in NAMES if may(user, "configure", name)]


def test_exclusive_queues_can_be_made_by_who_needs_them() -> None:
    """A gateway may make its node's queue and a deadlines worker its hints queue, and use them."""
    node = gateway_queue("gw-0123456789abcdef")
    assert all(may("aoi-gateway", what, node) for what in ("configure", "read"))
    hints = hints_queue("0123456789abcdef")
    assert all(may("aoi-deadlines", what, hints.name) for what in ("configure", "write", "read"))
    assert all(may("aoi-deadlines", "read", binding.exchange) for binding in hints.bindings)


def test_requests_are_divided_between_gateways_and_senders() -> None:
    """Every request may be made by its roles, and by no other."""
    allowed = {
        user["name"]: {
            key
            for key in ALL_REQUESTS
            if may(user["name"], "write", REQUESTS)
            and may_topic(user["name"], REQUESTS, "write", key)
        }
        for user in TEMPLATE["users"]
    }
    assert {user: keys for user, keys in allowed.items() if keys} == {
        "aoi-gateway": set(DEVICE_REQUESTS | GATEWAY_ONLY),
        "aoi-endpoint": set(SENDER_REQUESTS),
        "shop": set(SENDER_REQUESTS),
    }


def test_only_who_answers_or_starts_steps_may_write_into_any_queue() -> None:
    """Answers to direct reply-to and first steps need the default exchange, through which a user
    may write into every queue there is; who only reports outcomes cannot.
    """
    users = [user["name"] for user in TEMPLATE["users"]]
    assert {user for user in users if may(user, "write", "amq.default")} == {
        "aoi-registration",
        "aoi-activation",
        "aoi-notification",
        "aoi-outcome",
        "aoi-deadlines",
    }
    reporting = {user for user in users if may(user, "write", OUTCOMES)} - {"aoi-setup"}
    assert reporting == {
        "aoi-notification",
        "aoi-gateway",
        "aoi-sms",
        "aoi-webhook",
        "aoi-webpush",
        "aoi-outcome",
        "aoi-deadlines",
    }


def test_a_worker_writes_into_its_own_quarantine_only() -> None:
    """Only the deadlines worker may write into others', for `aoi dead replay`."""
    quarantines = {name for name in QUEUES if name.endswith(".quarantine")}
    for user in (user["name"] for user in TEMPLATE["users"]):
        writes = {
            name
            for name in quarantines
            if may(user, "write", QUARANTINES) and may_topic(user, QUARANTINES, "write", name)
        }
        own = {name for name in TAKES.get(user, ()) if name in quarantines}
        assert writes == (quarantines if user == "aoi-deadlines" else own), user


def test_every_worker_accepts_replays() -> None:
    """The user of the service in which `aoi dead replay` runs is an operator for every worker that
    has a quarantine.
    """
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    takes = {name.removeprefix("aoi-") for name, queues in TAKES.items() if queues}
    for name in takes - {"deadlines"}:  # a worker accepts its own user's
        operators = json.loads(services[name]["environment"]["AOI_OPERATOR_USERS"])
        assert operators == ["aoi-deadlines"], name


def test_every_fact_has_somebody_who_may_tell_it() -> None:
    """Each kind of event may be published by a worker, and by no sender and no gateway."""
    tellers = [user["name"] for user in TEMPLATE["users"] if may(user["name"], "write", EVENTS)]
    silent = {"shop", "aoi-gateway", "aoi-endpoint", "operator", *CHANNELS}
    assert not silent & set(tellers)
    for kind in EVENT_KINDS:
        key = event_routing_key(kind, "shop")
        assert any(may_topic(user, EVENTS, "write", key) for user in tellers), kind


def test_another_application_server_gets_the_same_and_no_more(
    credentials: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names from the setting take the example's place, each with its own name in every pattern."""
    monkeypatch.setenv("AOI_APPLICATION_SERVERS", "bank, news-desk")
    grown = credentials.definitions(TEMPLATE, credentials.application_servers())
    assert "shop" not in json.dumps(grown)
    (row,) = [row for row in grown["permissions"] if row["user"] == "news-desk"]
    assert row["configure"] == r"^aoi\.reply\.news-desk\..*$"
    reads = [row["read"] for row in grown["topic_permissions"] if row["user"] == "bank"]
    assert r"^notification\.[a-z*]+\.bank$" in reads


@pytest.mark.parametrize("name", ["aoi-gateway", "operator", "postgres", "a.b", "A", "x|.*", "9"])
def test_a_name_that_would_mean_more_is_refused(
    credentials: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A name that is a role's, or means something in a pattern, is refused and said which."""
    monkeypatch.setenv("AOI_APPLICATION_SERVERS", f"shop,{name}")
    with pytest.raises(ConfigurationError, match=re.escape(repr(name))):
        credentials.application_servers()


def test_credentials_survive_a_second_start(
    credentials: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second start keeps passwords and keys, and the definitions carry hashes, no password."""
    for name in ("FOLDER", "BROKER", "STORE"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setattr(credentials, name, folder)
    # This machine has no group for each role; handing files over is what the stack's tests see.
    monkeypatch.setattr(credentials.shutil, "chown", lambda path, group: None)
    assert credentials.main([]) == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "folder").iterdir()}
    assert credentials.main([]) == 0
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "folder").iterdir()}
    keys = json.loads(before["channels.json"])
    files = {name: text.decode() for name, text in before.items() if name.endswith(".toml")}
    private, signing = keys["private_key"], keys["signing_key"]
    assert {name for name, text in files.items() if private in text} == {"webpush.toml"}
    assert {name for name, text in files.items() if signing in text} == {
        "activation.toml",
        "webhook.toml",
    }
    for text in files.values():
        configure(installed_plugins(), tomllib.loads(text).get("channels", {}))
    passwords = json.loads(before["passwords.json"])
    finished = (tmp_path / "broker" / "definitions.json").read_text()
    assert not [each for each in passwords.values() if each in finished]
    for user in json.loads(finished)["users"]:
        hashed = base64.b64decode(user["password_hash"])
        salted = hashed[:4] + passwords[user["name"]].encode()
        assert hashed[4:] == hashlib.sha256(salted).digest()
