"""Every code block of README and documentation is executed, or read by what it is for."""

from __future__ import annotations

import re
import tomllib
from ipaddress import ip_network
from typing import Any

import pytest
import yaml

from aoi_events.bootstrap.settings import Settings
from aoi_events.channels.base.http.addresses import permitted
from aoi_events.channels.webhook.settings import WebhookSettings
from aoi_events.errors import ConfigurationError
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.store.engine import database_of
from tests.support.pages import ROOT, block, blocks, pages, text_of

HERE = "tests/unit/docs/test_blocks.py"
FIRST = "tests/acceptance/test_first_notification.py"
OPERATIONS = "tests/acceptance/test_documented.py"
TESTED_BY = {
    ("README.md", "python"): "tests/integration/testing/test_documented.py",
    ("README.md", "sh"): FIRST,
    ("docs/explanation/second-channel.md", "text"): "tests/unit/benchmarks/test_documented.py",
    ("docs/how-to/clusters.md", "sh"): "tests/unit/platform/test_broker_url.py",
    ("docs/how-to/containers.md", "sh"): "tests/acceptance/compose/test_compose.py",
    ("docs/how-to/devices.md", "python"): "tests/integration/testing/test_documented.py",
    ("docs/how-to/firefox.md", "js"): "tests/acceptance/browser/test_own_firefox.py",
    ("docs/how-to/linux-daemon.md", "ini"): "tests/acceptance/daemon/test_documented.py",
    ("docs/how-to/linux-daemon.md", "python"): "tests/acceptance/daemon/test_documented.py",
    ("docs/how-to/linux-daemon.md", "sh"): "tests/acceptance/daemon/test_documented.py",
    ("docs/how-to/outgoing-proxy.md", "sh"): HERE,
    ("docs/how-to/outgoing-proxy.md", "text"): HERE,
    ("docs/how-to/own-channel.md", "python"): "tests/acceptance/test_sample_project.py",
    ("docs/how-to/policy.md", "text"): "tests/unit/cli/test_policy.py",
    ("docs/how-to/policy.md", "toml"): "tests/unit/bootstrap/test_documented.py",
    ("docs/how-to/private-ca.md", "sh"): "tests/integration/broker/test_private_ca.py",
    ("docs/how-to/publish-amqp.md", "python"): "tests/integration/testing/test_documented.py",
    ("docs/how-to/publish-http.md", "python"): "tests/integration/endpoint/test_documented.py",
    ("docs/how-to/publish-http.md", "sh"): "tests/integration/endpoint/test_documented.py",
    ("docs/how-to/sms.md", "sh"): "tests/unit/channels/test_sms_routing.py",
    ("docs/how-to/sms.md", "toml"): "tests/unit/channels/test_sms_routing.py",
    ("docs/how-to/test-your-code.md", "python"): "tests/integration/testing/test_documented.py",
    ("docs/how-to/tls-proxy.md", "nginx"): HERE,
    ("docs/how-to/tls-proxy.md", "toml"): HERE,
    ("docs/how-to/webhooks-web-push.md", "sh"): OPERATIONS,
    ("docs/operations/backup.md", "sh"): OPERATIONS,
    ("docs/operations/metrics.md", "yaml"): HERE,
    ("docs/operations/running.md", "sh"): OPERATIONS,
    ("docs/operations/running.md", "text"): HERE,
    ("docs/operations/upgrading.md", "sh"): OPERATIONS,
    ("docs/tutorial.md", "sh"): FIRST,
}
"""Page and language → the test. JSON is read by tests/unit/contracts/test_contracts.py."""

WRITTEN = {"docs/_build", "compose/settings.env", "compose/.env"}
"""Files that a build or an operator writes."""


def test_every_block_has_a_test() -> None:
    """A block that no test knows, or whose test does not name the page, is found."""
    found = {(each.page, each.language) for page in pages() for each in blocks(page)}
    assert found - {(page, "json") for page in pages()} == set(TESTED_BY)
    for (page, _), test in TESTED_BY.items():
        assert page in (ROOT / test).read_text(), f"{test} does not read {page}"


def test_the_two_commands_are_targets() -> None:
    """What the README shows first are targets of the Makefile that say what they do."""
    shown = block("README.md", "sh", "Two commands")
    targets = re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"^make (\w+)", shown, re.MULTILINE)
    assert named == ["demo", "test"]
    assert {*named, "docs"} <= set(targets)


def test_the_scrape_configuration_reaches_the_health_port() -> None:
    """It is YAML, and its target is where a worker serves metrics by default."""
    config = yaml.safe_load(block("docs/operations/metrics.md", "yaml"))
    (job,) = config["scrape_configs"]
    health = Settings().health
    assert job["static_configs"] == [{"targets": [f"{health.host}:{health.port}"]}]


def test_the_settings_behind_a_proxy_are_settings() -> None:
    """Gateways and endpoints take them, and a gateway lets in what it may have in all."""
    given: dict[str, Any] = tomllib.loads(block("docs/how-to/tls-proxy.md", "toml"))
    settings = Settings.model_validate(given)
    assert settings.gateway.connections_per_address == settings.gateway.max_connections
    assert settings.endpoint.public_url == "https://push.example.org"


def nginx(text: str) -> list[tuple[list[str], Any]]:
    """The directives of a configuration, each with its block if it has one."""
    words = re.findall(r'"[^"]*"|[{};]|[^\s{};]+', re.sub(r"#.*", "", text))
    stack: list[list[tuple[list[str], Any]]] = [[]]
    current: list[str] = []
    for word in words:
        if word == ";":
            assert current
            stack[-1].append((current, None))
        elif word == "{":
            assert current
            inner: list[tuple[list[str], Any]] = []
            stack[-1].append((current, inner))
            stack.append(inner)
        elif word == "}":
            assert not current
            stack.pop()
        else:
            current.append(word)
            continue
        current = []
    assert len(stack) == 1
    assert not current
    return stack[0]


def test_the_proxy_configuration_fits_our_defaults() -> None:
    """Two gateways on their port, a WebSocket upgrade, a time-out above that of the pings, and the
    address that the proxy sees for the endpoint.
    """
    config = nginx(block("docs/how-to/tls-proxy.md", "nginx"))
    defaults = GatewaySettings()
    upstreams = {name[1]: inner for name, inner in config if name[0] == "upstream"}
    servers = [line[1] for line, _ in upstreams["aoi_gateways"] if line[0] == "server"]
    assert [server.rpartition(":")[2] for server in servers] == [str(defaults.port)] * 2
    (server,) = [inner for name, inner in config if name == ["server"]]
    devices, senders = (
        {tuple(line[:2]) if line[0] == "proxy_set_header" else line[0]: line[-1] for line, _ in i}
        for name, i in server
        if name[0] == "location"
    )
    assert devices["proxy_pass"] == "http://aoi_gateways"
    assert devices["proxy_set_header", "Upgrade"] == "$http_upgrade"
    silence = defaults.ping_every + defaults.pong_within
    assert float(devices["proxy_read_timeout"].removesuffix("s")) > silence
    assert senders["proxy_set_header", "X-Forwarded-For"] == "$remote_addr"


def test_the_outgoing_proxy_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the shell sets the proxy of webhooks."""
    line = block("docs/how-to/outgoing-proxy.md", "sh").strip()
    name, _, value = line.removeprefix("export ").partition("=")
    monkeypatch.setenv(name, value)
    webhook = WebhookSettings.model_validate(Settings().channels["webhook"])
    assert webhook.proxy is not None
    assert webhook.proxy.get_secret_value() == value


def test_the_outgoing_proxy_refuses_private_addresses() -> None:
    """The networks are valid for Squid, and the worker itself would permit none of them."""
    lines = block("docs/how-to/outgoing-proxy.md", "text").strip().splitlines()
    assert lines.pop() == "http_access deny private"
    networks = [ip_network(text) for line in lines for text in line.split()[3:]]
    assert all(line.split()[:3] == ["acl", "private", "dst"] for line in lines)
    assert not [each for each in networks if permitted(str(each.network_address), ())]
    assert {each.version for each in networks} == {4, 6}


async def test_the_url_of_several_servers_is_one_of_a_store() -> None:
    """It opens an engine, and no connection is made; what only several servers are refused shows
    that both are read.
    """
    url = block("docs/operations/running.md", "text").strip().replace("…", "secret")
    await database_of(url).close()
    with pytest.raises(ConfigurationError, match="use read-write"):
        database_of(f"{url}?target_session_attrs=any")


@pytest.mark.parametrize("page", pages())
def test_headings_and_links_are_of_this_repository(page: str) -> None:
    """A page has one title, and every file that its text names in backquotes exists."""
    text = text_of(page)
    assert len(re.findall(r"^# ", re.sub(r"(?ms)^ *```.*?^ *```", "", text))) <= 1
    for name in re.findall(r"`((?:aoi_events|workers|compose|tests|docs)/[\w./-]+)`", text):
        assert (ROOT / name).exists() or name in WRITTEN, name
