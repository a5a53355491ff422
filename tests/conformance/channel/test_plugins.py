"""Every plug-in: found, described, configured, and careful about what devices offer."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from aoi_events.bootstrap.plugins import configure, installed_plugins
from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.domain.channels import Parameters, octets_of
from aoi_events.domain.plans import Step
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.channel import ConnectionlessChannel
from tests.conformance.channel.stages import OFFERS, Offers, Provider, plugin_of

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
def test_settings_have_defaults_and_refuse_what_is_unknown(kind: str) -> None:
    """A plug-in needs nothing to be loaded; a misspelt setting is an error, not silence."""
    plugin = plugin_of(kind)
    defaults = plugin.settings_model()
    assert plugin.configured(defaults) is plugin.configured({})
    with pytest.raises(ValidationError):
        plugin.settings_model.model_validate({"no_such_setting": 1})
    configured = configure({kind: plugin}, {})
    assert (kind in configured.plugins) == plugin.configured(defaults)


@KINDS
def test_settings_do_not_change(kind: str) -> None:
    """Settings are values: nobody changes them while workers use them."""
    model = plugin_of(kind).settings_model
    assert model.model_config.get("frozen")


@KINDS
def test_traits_are_what_decisions_can_use(kind: str) -> None:
    """The same every time, of this type, within the bounds of a step."""
    plugin = plugin_of(kind)
    traits = plugin.traits(plugin.settings_model())
    assert traits == plugin.traits({})
    assert traits.type == kind == plugin.type
    Step(kind, 0.0, traits.ack_within)
    assert traits.largest_content is None or traits.largest_content >= 1
    assert traits.cost >= 0
    assert math.isfinite(traits.cost)
    if traits.connection_oriented:
        assert traits.largest_content in (None, MAX_CONTENT)


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
def test_good_offers_are_normalised(kind: str) -> None:
    """An address to prove comes with exactly the channels that need a proof; what was normalised
    once stays as it is.
    """
    plugin = plugin_of(kind)
    traits = plugin.traits(plugin.settings_model())
    for parameters in OFFERS[kind].good:
        offered = plugin.offer(parameters, {})
        assert (offered.address is not None) == traits.needs_proof
        assert plugin.offer(offered.parameters, {}) == offered
        ChannelOffer(type=kind, parameters=offered.parameters)


@pytest.mark.parametrize(
    "kind, parameters, name",
    [(kind, *bad) for kind, offers in sorted(OFFERS.items()) for bad in offers.bad],
)
def test_bad_offers_say_what_to_send(kind: str, parameters: Parameters, name: str) -> None:
    """Missing, of the wrong type, or too much: which field, and what to do; never the address."""
    with pytest.raises(Refusal) as refused:
        plugin_of(kind).offer(parameters, {})
    assert refused.value.code is ErrorCode.INVALID
    assert refused.value.field == name
    assert re.search(r"offer|leave", refused.value.message)
    told = [v for v in parameters.values() if isinstance(v, str) and len(v) > 3]
    assert not any(value in refused.value.message for value in told)


@KINDS
@settings(max_examples=60, deadline=None)
@given(any_parameters())
def test_any_offer_is_taken_or_refused(kind: str, parameters: Parameters) -> None:
    """Whatever a device offers: normal parameters, or a refusal with a message; never a fault."""
    plugin = plugin_of(kind)
    try:
        offered = plugin.offer(parameters, {})
    except Refusal as refused:
        said = (refused.code, bool(refused.message), (refused.field or "").partition(".")[0])
    else:
        again = plugin.offer(offered.parameters, {})
        said = (ErrorCode.INVALID, again == offered, "parameters")
    assert said == (ErrorCode.INVALID, True, "parameters")


@KINDS
def test_offers_of_the_suite_cover_the_plugin(kind: str) -> None:
    """Each plug-in here has an offer that it takes and one that it does not."""
    assert isinstance(OFFERS[kind], Offers)
    assert OFFERS[kind].good
    assert OFFERS[kind].bad


async def test_a_connection_oriented_channel_has_no_sender() -> None:
    """Its deliveries go to the gateway node that holds the connection."""
    plugin = plugin_of("websocket")
    assert plugin.traits({}).connection_oriented
    assert await plugin.connect(plugin.settings_model()) is None


async def test_a_connectionless_channel_names_its_provider(
    provider: Provider, channel: ConnectionlessChannel
) -> None:
    """The store and metrics know providers by name; the name tells no password."""
    assert not provider.traits.connection_oriented
    assert provider.plugin.configured(provider.settings)
    assert channel.provider
    other = await provider.connect()
    assert other.provider == channel.provider
