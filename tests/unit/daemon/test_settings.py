"""The default paths of the daemon's files."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from aoi_events.daemon.settings import ClientSettings, device_name, socket_path, state_folder
from aoi_events.errors import ConfigurationError

ROOT, ANN = 0, 1000


@pytest.mark.parametrize(
    "environment, user, expected",
    [
        ({"HOME": "/root"}, ROOT, "/var/lib/aoi"),
        ({"HOME": "/home/ann"}, ANN, "/home/ann/.local/state/aoi"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "/s"}, ANN, "/s/aoi"),
    ],
)
def test_the_state_has_a_place(environment: dict[str, str], user: int, expected: str) -> None:
    """Root's is the system's; others follow the XDG base directories."""
    assert state_folder(ClientSettings(), environment, user) == Path(expected)
    assert state_folder(ClientSettings(state=Path("/x")), environment, user) == Path("/x")


def test_without_a_home_the_state_must_be_said() -> None:
    """Nothing is guessed: the error names the setting."""
    with pytest.raises(ConfigurationError, match="AOI_CLIENT__STATE"):
        state_folder(ClientSettings(), {}, ANN)


@pytest.mark.parametrize(
    "environment, user, expected",
    [
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, ROOT, "/run/aoi/client.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/1000"}, ANN, "/run/user/1000/aoi/client.sock"),
        ({}, ANN, "/run/aoi/client.sock"),
    ],
)
def test_the_socket_has_a_place(environment: dict[str, str], user: int, expected: str) -> None:
    """Daemon and commands of the same user meet without a setting."""
    assert socket_path(ClientSettings(), environment, user) == Path(expected)
    assert socket_path(ClientSettings(socket=Path("/x")), environment, user) == Path("/x")


def test_a_device_has_a_name() -> None:
    """The name of a device is its host name, if none is set."""
    assert device_name(ClientSettings(device="kitchen")) == "kitchen"
    assert device_name(ClientSettings()) == socket.gethostname()
