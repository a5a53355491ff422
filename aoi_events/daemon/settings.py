"""Settings of the daemon, and the default paths of its files."""

from __future__ import annotations

import socket as sockets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from aoi_events.contracts.identifiers import DeviceId, UserIdentity
from aoi_events.errors import ConfigurationError
from aoi_events.platform.proxy import ProxySetting
from aoi_events.platform.settings import Seconds, Section

_SYSTEM_STATE: Final = Path("/var/lib/aoi")
_SYSTEM_SOCKETS: Final = Path("/run/aoi")
_SOCKET: Final = "client.sock"


class ClientSettings(Section):
    """The settings of an AOI Client that runs as a daemon."""

    url: Annotated[str | None, Field(repr=False)] = None
    """The gateway of the AOI Server, ``wss://HOST/aoi`` or ``ws://HOST:8090/aoi``; ``aoi client
    run`` needs it."""
    ca_file: Path | None = None
    """PEM file with the certificates to trust instead of the system's."""
    proxy: ProxySetting | None = None
    """HTTP proxy for the connection to the gateway, ``http://HOST:PORT`` or
    ``http://USER:PASSWORD@HOST:PORT``; the proxies of the environment are not used."""
    device: DeviceId | None = None
    """Names the device, for people; unset: the machine's host name."""
    identity: UserIdentity | None = None
    """The user of the device: a phone number, a SIP URI, any text; ``aoi client run`` needs it. An
    identity that ``aoi client set-identity`` set later is used until this changes."""
    assertion_file: Path | None = None
    """File with a signed assertion (JWT) of ``identity``, for AOI Servers that want it proved
    (``AOI_POLICY__IDENTITY_KEYS``); read at the start, and by ``aoi client set-identity``."""
    register_on: Literal["install", "first_application"] = "first_application"
    """Whether to register at the first start, or when the first app asks."""
    state: Path | None = None
    """Folder for what must survive; unset: ``/var/lib/aoi`` for root, else ``aoi`` in
    ``$XDG_STATE_HOME`` (``~/.local/state``)."""
    socket: Path | None = None
    """The Unix socket for apps; unset: ``aoi/client.sock`` in ``$XDG_RUNTIME_DIR``, else
    ``/run/aoi/client.sock``."""
    group: str | None = None
    """Group, by name or number, whose members' apps may use the socket; unset: apps of the
    daemon's own user only (and root's)."""
    users: tuple[Annotated[int, Field(ge=0, le=2**32 - 2)], ...] = ()
    """Numbers of the users in ``group`` who may; empty: every member."""
    network: Literal["netlink", "unwatched"] = "netlink"
    """Watch the network through netlink; unwatched: connections are just tried."""
    metered: tuple[str, ...] = ()
    """Network interfaces to be treated as metered (``["wwan*", "eth1"]``), beside cellular ones."""
    settle: Annotated[float, Field(ge=0, le=60)] = 0.5
    """Seconds without a change after which the network is looked at again."""
    ack_within: Seconds = 30.0
    """Seconds that an attached app may take to acknowledge; then it counts as not running. After
    the server's ``AOI_CHANNELS__WEBSOCKET__ACK_WITHIN`` other channels are tried meanwhile; the
    first acknowledgement counts."""
    wake_within: Seconds = 60.0
    """Seconds that a command may run; then it is killed with its children. For longer than the
    server waits, see ``ack_within``."""
    wake_at_once: Annotated[int, Field(ge=1, le=100)] = 4
    """Commands that may run at once."""
    wake_again_after: Seconds = 60.0
    """Seconds after which a command that could not take a notification is tried again; doubled
    each time that it fails, up to an hour."""
    request_within: Seconds = 15.0
    """Seconds to wait for an answer of the AOI Server; then the request is repeated."""
    reconnect_first: Seconds = 1.0
    """Seconds before connecting again, doubled for each further attempt, less up to half at
    random."""
    reconnect_most: Seconds = 120.0
    """Longest pause before connecting again, in seconds."""
    reconnect_replaced: Seconds = 900.0
    """Seconds before connecting again after another connection of the same AOI Client took over,
    less up to half at random; at once on another network."""
    drain_within: Seconds = 20.0
    """Seconds for apps to finish after TERM."""


def state_folder(settings: ClientSettings, environment: Mapping[str, str], user: int) -> Path:
    """The folder of the state. Raises ConfigurationError if there is no default."""
    if settings.state is not None:
        return settings.state
    if user == 0:
        return _SYSTEM_STATE
    if base := environment.get("XDG_STATE_HOME"):
        return Path(base) / "aoi"
    if home := environment.get("HOME"):
        return Path(home) / ".local" / "state" / "aoi"
    raise ConfigurationError("there is no HOME: set AOI_CLIENT__STATE to a folder for the state")


def socket_path(settings: ClientSettings, environment: Mapping[str, str], user: int) -> Path:
    """The path of the socket, for the daemon and its clients."""
    if settings.socket is not None:
        return settings.socket
    base = environment.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "aoi" if base and user != 0 else _SYSTEM_SOCKETS
    return folder / _SOCKET


def device_name(settings: ClientSettings) -> str:
    """The name of the device."""
    return settings.device or sockets.gethostname() or "device"
