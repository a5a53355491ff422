"""Every channel's folder has the same files, so that a reader of one finds the way in all."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events import channels
from aoi_events.bootstrap.plugins import installed_plugins

FOLDERS = {
    folder.name: folder
    for folder in Path(channels.__file__).parent.iterdir()
    if any(folder.glob("*.py")) and folder.name != "base"
}


def test_every_folder_is_a_channel() -> None:
    """What channels share is in channels/base: each other folder is an installed plug-in."""
    assert set(FOLDERS) <= set(installed_plugins())


@pytest.mark.parametrize("kind", sorted(FOLDERS))
def test_a_channel_has_the_files_of_a_channel(kind: str) -> None:
    """Each has a plug-in, settings and the check of an offer; each that sends has a channel."""
    plugin = installed_plugins()[kind]
    expected = {"__init__.py", "plugin.py", "settings.py", "offer.py"}
    if not plugin.traits(plugin.settings_model()).connection_oriented:
        expected.add("channel.py")
    assert expected <= {file.name for file in FOLDERS[kind].iterdir()}
