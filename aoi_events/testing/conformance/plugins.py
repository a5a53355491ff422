"""The tests of every plug-in: its description, its settings, and how it checks offers."""

from __future__ import annotations

import math
import re

import pytest
from pydantic import BaseModel, ValidationError

from aoi_events.bootstrap.plugins import configure
from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.domain.clients.channels import octets_of
from aoi_events.domain.planning.plans import Step
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.channel import ChannelPlugin
from aoi_events.testing.conformance.provider import Offers


class PluginSuite:
    """The tests of every plug-in.

    Override the fixtures ``plugin``, and ``offers`` with at least one offer that it takes and one
    that it refuses.
    """

    @pytest.fixture
    def plugin(self) -> ChannelPlugin:
        """The plug-in, as its entry point names it."""
        raise NotImplementedError("override the fixture plugin")

    @pytest.fixture
    def settings(self, plugin: ChannelPlugin) -> BaseModel:
        """The settings of the plug-in; override it where the defaults are not enough."""
        return plugin.settings_model()

    @pytest.fixture
    def offers(self) -> Offers:
        """Offers that the plug-in takes, and offers that it refuses."""
        raise NotImplementedError("override the fixture offers")

    def test_settings_have_defaults_and_refuse_what_is_unknown(self, plugin: ChannelPlugin) -> None:
        """A plug-in needs nothing to be loaded; a misspelt setting is an error, not silence."""
        defaults = plugin.settings_model()
        with pytest.raises(ValidationError):
            plugin.settings_model.model_validate({"no_such_setting": 1})
        configured = configure({plugin.type: plugin}, {})
        assert (plugin.type in configured.plugins) == plugin.configured(defaults)

    def test_settings_do_not_change(self, plugin: ChannelPlugin) -> None:
        """Settings are values that cannot be changed while workers use them."""
        assert plugin.settings_model.model_config.get("frozen")

    def test_traits_are_what_decisions_can_use(self, plugin: ChannelPlugin) -> None:
        """Traits are the same every time, of this type, within the bounds of a step."""
        traits = plugin.traits(plugin.settings_model())
        assert traits == plugin.traits(plugin.settings_model())
        assert traits.type == plugin.type
        Step(plugin.type, 0.0, traits.ack_within)
        assert traits.largest_content is None or traits.largest_content >= 1
        assert traits.cost >= 0
        assert math.isfinite(traits.cost)
        if traits.connection_oriented:
            assert traits.largest_content in (None, MAX_CONTENT)

    def test_the_measure_covers_the_content(self, plugin: ChannelPlugin) -> None:
        """The measure of content is at least its size, and the same every time."""
        measure = plugin.traits(plugin.settings_model()).measure
        for text in ("", "x", "Gate B1", "\u00e9" * 500, "\x01" * 4_000):
            for content in (Content(data=text), Content.of(text.encode(), "application/x-thing")):
                assert measure(content) == measure(content) >= octets_of(content)

    def test_good_offers_are_normalised(
        self, plugin: ChannelPlugin, settings: BaseModel, offers: Offers
    ) -> None:
        """An address to prove comes with exactly the channels that need a proof; what was
        normalised once stays as it is.
        """
        traits = plugin.traits(plugin.settings_model())
        assert offers.good
        for parameters in offers.good:
            offered = plugin.offer(parameters, settings)
            assert (offered.address is not None) == traits.needs_proof
            assert plugin.offer(offered.parameters, settings) == offered
            ChannelOffer(type=plugin.type, parameters=offered.parameters)

    def test_bad_offers_say_what_to_send(
        self, plugin: ChannelPlugin, settings: BaseModel, offers: Offers
    ) -> None:
        """A refused offer names the field and what to do, and never the address."""
        assert offers.bad
        for parameters, name in offers.bad:
            with pytest.raises(Refusal) as refused:
                plugin.offer(parameters, settings)
            assert refused.value.code is ErrorCode.INVALID
            assert refused.value.field == name
            assert re.search(r"offer|leave", refused.value.message)
            told = [v for v in parameters.values() if isinstance(v, str) and len(v) > 3]
            assert not any(value in refused.value.message for value in told)
