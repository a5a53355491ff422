"""Where the daemon's files are, and who may do what at its socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from aoi_events.daemon.access import Doors, Peer, Rank, group_number, peer_of
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
    """The machine's, if none is set."""
    assert device_name(ClientSettings(device="kitchen")) == "kitchen"
    assert device_name(ClientSettings()) == socket.gethostname()


@pytest.mark.parametrize(
    "doors, peer, rank",
    [
        (Doors(ANN), Peer(1, ANN, frozenset()), Rank.OPERATOR),
        (Doors(ANN), Peer(1, ROOT, frozenset()), Rank.OPERATOR),
        (Doors(ANN), Peer(1, 1001, frozenset({ANN})), None),
        (Doors(ANN, 50), Peer(1, 1001, frozenset({7, 50})), Rank.APP),
        (Doors(ANN, 50), Peer(1, 1001, frozenset({7})), None),
        (Doors(ANN, 50, frozenset({1001})), Peer(1, 1001, frozenset({50})), Rank.APP),
        (Doors(ANN, 50, frozenset({1001})), Peer(1, 1002, frozenset({50})), None),
        (Doors(ANN, 50, frozenset({1001})), Peer(1, 1001, frozenset({7})), None),
    ],
)
def test_who_may_do_what(doors: Doors, peer: Peer, rank: Rank | None) -> None:
    """Own user and root everything; members of the group, and of those the users named, as apps."""
    assert doors.rank(peer) is rank


def test_the_kernel_says_who_is_there() -> None:
    """Of a connection of our own: our process, our user, our groups."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = peer_of(one)
    assert (peer.pid, peer.user) == (os.getpid(), os.geteuid())
    assert peer.groups >= {os.getegid(), *os.getgroups()}


def test_groups_by_name_or_number() -> None:
    """Either is understood; one that is not there is told with its setting."""
    assert group_number("0") == 0
    assert group_number("root") == 0
    with pytest.raises(ConfigurationError, match=r"AOI_CLIENT__GROUP.*'nobody-knows'"):
        group_number("nobody-knows")
