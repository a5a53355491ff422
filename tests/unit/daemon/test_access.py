"""Access to the daemon's socket: which peer has which role."""

from __future__ import annotations

import os
import socket

import pytest

from aoi_events.daemon.access import AccessPolicy, Peer, Role, group_number, peer_of
from aoi_events.errors import ConfigurationError

ROOT, ANN = 0, 1000


@pytest.mark.parametrize(
    "policy, peer, role",
    [
        (AccessPolicy(ANN), Peer(1, ANN, frozenset()), Role.OPERATOR),
        (AccessPolicy(ANN), Peer(1, ROOT, frozenset()), Role.OPERATOR),
        (AccessPolicy(ANN), Peer(1, 1001, frozenset({ANN})), None),
        (AccessPolicy(ANN, 50), Peer(1, 1001, frozenset({7, 50})), Role.APP),
        (AccessPolicy(ANN, 50), Peer(1, 1001, frozenset({7})), None),
        (AccessPolicy(ANN, 50, frozenset({1001})), Peer(1, 1001, frozenset({50})), Role.APP),
        (AccessPolicy(ANN, 50, frozenset({1001})), Peer(1, 1002, frozenset({50})), None),
        (AccessPolicy(ANN, 50, frozenset({1001})), Peer(1, 1001, frozenset({7})), None),
    ],
)
def test_who_may_do_what(policy: AccessPolicy, peer: Peer, role: Role | None) -> None:
    """Own user and root everything; members of the group, and of those the users named, as apps."""
    assert policy.role(peer) is role


def test_the_kernel_says_who_is_there() -> None:
    """The peer of a connection of this process is this process, with its user and groups."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = peer_of(one)
    assert (peer.pid, peer.user) == (os.getpid(), os.geteuid())
    assert peer.groups >= {os.getegid(), *os.getgroups()}


def test_groups_by_name_or_number() -> None:
    """A group has a name or a number; the error of an unknown one names the setting."""
    assert group_number("0") == 0
    assert group_number("root") == 0
    with pytest.raises(ConfigurationError, match=r"AOI_CLIENT__GROUP.*'nobody-knows'"):
        group_number("nobody-knows")
    with pytest.raises(ConfigurationError, match="AOI_CLIENT__GROUP"):
        group_number("99999999999999")
