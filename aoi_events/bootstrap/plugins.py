"""Channel plug-ins: found by entry point, configured from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final

from pydantic import ValidationError

from aoi_events.bootstrap.setting_sources import in_words_of, variable
from aoi_events.domain.clients.channels import ChannelTraits
from aoi_events.errors import ConfigurationError
from aoi_events.ports.channel import ChannelPlugin

GROUP: Final = "aoi_events.channels"


@dataclass(frozen=True, slots=True)
class Plugins:
    """The channel plug-ins that this installation can use, with their settings and traits."""

    plugins: Mapping[str, ChannelPlugin]
    settings: Mapping[str, Any]
    traits: Mapping[str, ChannelTraits]

    @property
    def connectionless(self) -> tuple[str, ...]:
        """Channel types that have a worker of their own."""
        return tuple(
            sorted(kind for kind, trait in self.traits.items() if not trait.connection_oriented)
        )


def installed_channels() -> frozenset[str]:
    """The channel type of every plug-in of any installed package."""
    return frozenset(entry.name for entry in entry_points(group=GROUP))


def installed_plugins() -> dict[str, ChannelPlugin]:
    """Every channel plug-in of any installed package, by channel type."""
    return {entry.name: entry.load() for entry in entry_points(group=GROUP)}


def configure(
    installed: Mapping[str, ChannelPlugin], sections: Mapping[str, Mapping[str, Any]]
) -> Plugins:
    """The plug-ins whose settings are complete. Raises ConfigurationError for wrong settings."""
    for kind in sections:
        if kind not in installed:
            raise ConfigurationError(
                f"settings: {variable(('channels', kind))}: there is no plug-in {kind!r}; "
                f"installed: {', '.join(sorted(installed))}"
            )
    plugins: dict[str, ChannelPlugin] = {}
    settings: dict[str, Any] = {}
    traits: dict[str, ChannelTraits] = {}
    for kind, plugin in installed.items():
        try:
            section = plugin.settings_model.model_validate(dict(sections.get(kind, {})))
        except ValidationError as error:
            parts = error.errors(include_input=False, include_url=False)
            described = in_words_of(plugin.settings_model, "channels", kind)
            raise ConfigurationError("settings: " + "; ".join(map(described, parts))) from None
        if plugin.configured(section):
            plugins[kind], settings[kind] = plugin, section
            traits[kind] = plugin.traits(section)
    return Plugins(plugins, settings, traits)
