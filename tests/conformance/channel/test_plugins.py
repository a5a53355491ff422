"""Every installed plug-in: any offer of a device, and any content."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aoi_events.bootstrap.plugins import installed_plugins
from aoi_events.contracts.content import Content
from aoi_events.domain.clients.channels import Parameters, octets_of
from aoi_events.errors import ErrorCode, Refusal
from tests.conformance.channel.providers import OFFERS, plugin_of

KINDS = pytest.mark.parametrize("kind", sorted(OFFERS))

URL_PARTS = (
    ["https://", "HTTPS:", "http://", "//", "wss://", ""],
    [
        "push.example.org",
        "a@b",
        "[::1]",
        "127.1",
        "0x7f000001",
        "xn--",
        "[",
        "ex\u00e4mple.org",
        "%",
    ],
    ["", "/", "/p?q", ":443/p", ":0", ":", ":99999", "/\\", "/#f", "/ "],
)
any_value = st.text(max_size=40) | st.integers() | st.booleans()
urls = st.builds("{}{}{}".format, *(st.sampled_from(part) for part in URL_PARTS))
numbers = st.from_regex(r"\+?[0-9 ().-]{0,20}", fullmatch=True)


@st.composite
def any_parameters(draw: st.DrawFn) -> Parameters:
    """What a device may write into its offer: often the right names, seldom the right values."""
    names = st.sampled_from(
        ["msisdn", "address", "url", "endpoint", "p256dh", "auth"]
    ) | st.from_regex(r"[a-z][a-z0-9_]{0,8}")
    return draw(st.dictionaries(names, numbers | urls | any_value, max_size=3))


def test_every_installed_plugin_passes_this_suite() -> None:
    """A channel that is installed and not tested here is noticed."""
    installed = installed_plugins()
    assert set(installed) == set(OFFERS) - {"scripted"}
    assert {name: plugin.type for name, plugin in installed.items()} == {n: n for n in installed}


@KINDS
@settings(max_examples=60, deadline=None)
@given(data=st.text(max_size=200).filter(lambda text: "\0" not in text), octets=st.binary())
def test_the_measure_covers_the_content(kind: str, data: str, octets: bytes) -> None:
    """What content takes on a channel is at least itself, and the same every time."""
    plugin = plugin_of(kind)
    measure = plugin.traits(plugin.settings_model()).measure
    for content in (Content(data=data), Content.of(octets, "application/x-thing")):
        assert measure(content) == measure(content) >= octets_of(content)


@KINDS
@settings(max_examples=60, deadline=None)
@given(any_parameters())
def test_any_offer_is_taken_or_refused(kind: str, parameters: Parameters) -> None:
    """Whatever a device offers: normal parameters, or a refusal with a message; never a fault."""
    plugin = plugin_of(kind)
    try:
        offered = plugin.offer(parameters, plugin.settings_model())
    except Refusal as refused:
        said = (refused.code, bool(refused.message), (refused.field or "").partition(".")[0])
    else:
        again = plugin.offer(offered.parameters, plugin.settings_model())
        said = (ErrorCode.INVALID, again == offered, "parameters")
    assert said == (ErrorCode.INVALID, True, "parameters")


async def test_a_connection_oriented_channel_has_no_sender() -> None:
    """Deliveries of a connection-oriented channel go to a gateway node, so it has no sender."""
    plugin = plugin_of("websocket")
    assert plugin.traits(plugin.settings_model()).connection_oriented
    assert await plugin.connect(plugin.settings_model()) is None
