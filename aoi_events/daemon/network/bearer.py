"""What kind of network an interface leads to, as far as Linux can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from aoi_events.contracts.requests import Circumstances

__all__ = ["SYSFS", "Link", "circumstances_of"]

Bearer = Literal["unknown", "none", "cellular", "wifi", "ethernet"]

SYSFS: Final = Path("/sys/class/net")

_LOWER_UP: Final = 0x10000
"""``IFF_LOWER_UP`` (netdevice(7)): there is a carrier."""
_LOOPBACK: Final = 0x8
_ETHERNET: Final = 1
_CELLULAR_TYPES: Final = frozenset({512, 519, 820})
"""ARP hardware types of point-to-point links of modems: ppp, raw IP, PhoNet's pipe (if_arp.h)."""


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as rtnetlink(7) describes it; ``type`` is its ARP hardware type."""

    name: str
    type: int
    flags: int

    @property
    def carries(self) -> bool:
        """Whether anything can pass: a cable may be out, though the routes stay."""
        return bool(self.flags & _LOWER_UP)

    @property
    def loopback(self) -> bool:
        """Whether it leads to this machine."""
        return bool(self.flags & _LOOPBACK)


def circumstances_of(link: Link, metered: Sequence[str], sysfs: Path = SYSFS) -> Circumstances:
    """What the server should know; ``metered`` are patterns of names of interfaces.

    A tunnel's bearer is not known: what it runs over may be anything.
    """
    bearer = _bearer(link, sysfs)
    patterns = any(fnmatchcase(link.name, pattern) for pattern in metered)
    return Circumstances(bearer=bearer, metered=patterns or bearer == "cellular")


def _bearer(link: Link, sysfs: Path) -> Bearer:
    folder = sysfs / link.name
    if (folder / "wireless").exists() or (folder / "phy80211").exists():
        return "wifi"
    if link.type in _CELLULAR_TYPES or _device_type(folder) == "wwan":
        return "cellular"
    return "ethernet" if link.type == _ETHERNET else "unknown"


def _device_type(folder: Path) -> str | None:
    try:
        lines = (folder / "uevent").read_text().splitlines()
    except OSError:
        return None
    found = (line.partition("=")[2] for line in lines if line.startswith("DEVTYPE="))
    return next(found, None)
