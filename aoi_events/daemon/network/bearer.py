"""The kind of network behind an interface, as far as Linux knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from aoi_events.contracts.requests import Circumstances

Bearer = Literal["unknown", "none", "cellular", "wifi", "ethernet"]

SYSFS: Final = Path("/sys/class/net")

_LOWER_UP: Final = 0x10000
"""``IFF_LOWER_UP`` (netdevice(7)): there is a carrier."""
_LOOPBACK: Final = 0x8
_ETHERNET: Final = 1
_CELLULAR_TYPES: Final = frozenset({512, 519, 820})
"""ARP hardware types of point-to-point links of modems: ppp, raw IP, PhoNet's pipe (if_arp.h)."""


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """A network interface as in rtnetlink(7); ``type`` is its ARP hardware type."""

    name: str
    type: int
    flags: int

    @property
    def carries(self) -> bool:
        """Whether there is a carrier; routes stay when a cable is unplugged."""
        return bool(self.flags & _LOWER_UP)

    @property
    def loopback(self) -> bool:
        """Whether it is the loopback interface."""
        return bool(self.flags & _LOOPBACK)


def circumstances_of(
    interface: NetworkInterface, metered: Sequence[str], sysfs: Path = SYSFS
) -> Circumstances:
    """The circumstances to report to the server; ``metered`` are patterns of interface names.

    The bearer of a tunnel is unknown.
    """
    bearer = _bearer(interface, sysfs)
    patterns = any(fnmatchcase(interface.name, pattern) for pattern in metered)
    return Circumstances(bearer=bearer, metered=patterns or bearer == "cellular")


def _bearer(interface: NetworkInterface, sysfs: Path) -> Bearer:
    folder = sysfs / interface.name
    if (folder / "wireless").exists() or (folder / "phy80211").exists():
        return "wifi"
    if interface.type in _CELLULAR_TYPES or _device_type(folder) == "wwan":
        return "cellular"
    return "ethernet" if interface.type == _ETHERNET else "unknown"


def _device_type(folder: Path) -> str | None:
    try:
        lines = (folder / "uevent").read_text().splitlines()
    except OSError:
        return None
    found = (line.partition("=")[2] for line in lines if line.startswith("DEVTYPE="))
    return next(found, None)
