"""The broker's URL is checked before anything connects."""

from __future__ import annotations

import re

import pytest

from aoi_events.bootstrap.members import HOW_TO_GROW
from aoi_events.platform.broker_url import broker_urls
from tests.support.pages import block


@pytest.mark.parametrize(
    "url", ["amqp://u:p@h/v", "AMQPS://[::1]:1/", "memory://", "memory://user@server", "amqp://a_b"]
)
def test_urls_that_can_work(url: str) -> None:
    """AMQP needs a host; memory needs nothing."""
    (parts,) = broker_urls(url)
    assert parts.scheme in url.lower()


@pytest.mark.parametrize(
    "url, each",
    [
        ("amqp://u:p@a:5672,b/v", ["amqp://u:p@a:5672/v", "amqp://u:p@b/v"]),
        ("amqp://u:a,b@c,d", ["amqp://u:a,b@c", "amqp://u:a,b@d"]),
        ("amqps://a,b?cafile=/x,y", ["amqps://a?cafile=/x,y", "amqps://b?cafile=/x,y"]),
        (
            "amqp://10.0.0.1,[::1]:1,[::2]/",
            ["amqp://10.0.0.1/", "amqp://[::1]:1/", "amqp://[::2]/"],
        ),
        ("memory://a,b", ["memory://a,b"]),
    ],
)
def test_a_list_of_addresses_is_a_url_for_each(url: str, each: list[str]) -> None:
    """User, password, virtual host and options hold for every address; each has its own port."""
    assert [parts.geturl() for parts in broker_urls(url)] == each


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "http://h",
        "amqp://",
        "amqp://u:hidden@",
        "amqp://u:hidden@a..b",
        "amqp://h:99999",
        "amqp://[::1",
        "memory://[",
        "amqp://u:hid/den@h",
        "amqp://u:x@hid/den@h",
        "amqp://u:1#hidden@h",
        "amqp://u:1?hidden@h",
        "amqp://h:0",
        "amqp://h\n",
        "amqp://h/ v",
        "amqp://" + "x" * 300,
        "amqp://u:hidden@a,",
        "amqp://u:hidden@a,,b/v",
        "amqp://u:hidden@a, b/v",
        "amqp://u:hidden@a:5672,b:99999/v",
        "amqp://u:hidden@a/v,amqp://u:hidden@b/v",
        "amqp://u:hidden@a,amqp://u:hidden@b",
    ],
)
def test_urls_that_cannot_work(url: str) -> None:
    """Each is refused with the form of a URL, and without its password."""
    with pytest.raises(ValueError, match="give amqp://USER:PASSWORD@HOST") as refused:
        broker_urls(url)
    assert "hid" not in str(refused.value)


def test_the_page_on_clusters_names_three_nodes() -> None:
    """Its URL is read as three, and it grows queues with the command that warnings show."""
    page = "docs/how-to/clusters.md"
    shown = re.fullmatch(r'export AOI_BROKER="(.*)"\n', block(page, "sh", "Name all nodes"))
    assert shown is not None
    hosts = [(parts.hostname, parts.port) for parts in broker_urls(shown[1])]
    assert hosts == [(f"rabbit-{number}", 5672) for number in (1, 2, 3)]
    for line in block(page, "sh", "Queues that were there before the cluster").splitlines():
        node = line.split()[2]
        assert HOW_TO_GROW.endswith(line.replace(node, "NODE"))
