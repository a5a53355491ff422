"""Access to the socket: which process connected, as the kernel reports it, and what it may do."""

from __future__ import annotations

import errno
import grp
import socket
import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from aoi_events.errors import ConfigurationError

_CREDENTIALS: Final = struct.Struct("3i")
_PEER_GROUPS: Final = 59
"""``SO_PEERGROUPS`` (Linux 4.13, asm-generic/socket.h), which Python does not name."""
_LARGEST_ID: Final = 2**32 - 2
_GROUPS_AT_MOST: Final = 1_024
"""Octets of supplementary groups that can be read (Python's limit): 256 of them."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection: its ID, user and groups."""

    pid: int
    user: int
    groups: frozenset[int]


class Role(Enum):
    """The rights of a peer."""

    OPERATOR = auto()
    """Everything. For root and the daemon's own user, as whom commands run."""
    APP = auto()
    """Attach, register and unregister the apps of its user; no commands, no identity."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Which peer has which role. ``own`` is the daemon's user; see the settings *group, users*."""

    own: int
    group: int | None = None
    users: frozenset[int] = frozenset()

    def role(self, peer: Peer) -> Role | None:
        """The role of a peer; None: it may do nothing."""
        if peer.user in (0, self.own):
            return Role.OPERATOR
        if self.group not in peer.groups or (self.users and peer.user not in self.users):
            return None
        return Role.APP


def peer_of(connection: socket.socket) -> Peer:
    """The process that connected (``SO_PEERCRED``, ``SO_PEERGROUPS``; unix(7)). Raises OSError.

    Of a process with more than 256 supplementary groups only the primary one counts.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, group = _CREDENTIALS.unpack(credentials)
    try:
        octets = connection.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _GROUPS_AT_MOST)
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        octets = b""
    more = struct.unpack(f"{len(octets) // 4}I", octets)
    return Peer(pid, user, frozenset({group, *more}))


def group_number(group: str) -> int:
    """The number of a group. Raises ConfigurationError."""
    if group.isascii() and group.isdecimal() and int(group) <= _LARGEST_ID:
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigurationError(
            f"AOI_CLIENT__GROUP: there is no group {group!r} on this machine"
        ) from None
