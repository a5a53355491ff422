"""The broker's URL is checked before anything connects."""

from __future__ import annotations

import pytest

from aoi_events.platform.broker_url import broker_url


@pytest.mark.parametrize(
    "url", ["amqp://u:p@h/v", "AMQPS://[::1]:1/", "memory://", "memory://user@server", "amqp://a_b"]
)
def test_urls_that_can_work(url: str) -> None:
    """AMQP needs a host; memory needs nothing."""
    assert broker_url(url).scheme in url.lower()


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
    ],
)
def test_urls_that_cannot_work(url: str) -> None:
    """Each is refused with the form of a URL, and without its password."""
    with pytest.raises(ValueError, match="give amqp://USER:PASSWORD@HOST") as refused:
        broker_url(url)
    assert "hid" not in str(refused.value)
