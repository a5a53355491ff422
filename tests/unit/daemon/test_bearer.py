"""The bearer of a network interface, by what Linux reports of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi_events.daemon.network.bearer import NetworkInterface, circumstances_of

UP = 0x10043
ETHERNET, LOOPBACK, PPP, RAW_IP, NONE = 1, 772, 512, 519, 65_534


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Interfaces as ``/sys/class/net`` shows them."""
    for name in ("eth0", "wlan0", "wlp3s0", "wwan0", "wwp0s20u4"):
        (tmp_path / name).mkdir()
    (tmp_path / "wlan0" / "wireless").mkdir()
    (tmp_path / "wlp3s0" / "phy80211").mkdir()
    (tmp_path / "eth0" / "uevent").write_text("INTERFACE=eth0\nIFINDEX=2\n")
    (tmp_path / "wwan0" / "uevent").write_text("DEVTYPE=wwan\nINTERFACE=wwan0\n")
    (tmp_path / "wwp0s20u4" / "uevent").write_text("DEVTYPE=wwan\n")
    return tmp_path


@pytest.mark.parametrize(
    "name, kind, bearer, metered",
    [
        ("eth0", ETHERNET, "ethernet", False),
        ("wlan0", ETHERNET, "wifi", False),
        ("wlp3s0", ETHERNET, "wifi", False),
        ("wwan0", ETHERNET, "cellular", True),
        ("wwp0s20u4", RAW_IP, "cellular", True),
        ("ppp0", PPP, "cellular", True),
        ("tun0", NONE, "unknown", False),
        ("veth1", ETHERNET, "ethernet", False),
    ],
)
def test_bearers(sysfs: Path, name: str, kind: int, bearer: str, metered: bool) -> None:
    """Wi-Fi and modems are found by sysfs, point-to-point links by type; others are unknown."""
    said = circumstances_of(NetworkInterface(name, kind, UP), (), sysfs)
    assert (said.bearer, said.metered) == (bearer, metered)


def test_what_is_metered_can_be_said(sysfs: Path) -> None:
    """Interfaces that match a pattern are metered, in addition to modems."""
    patterns = ("wl*", "eth1")
    assert circumstances_of(NetworkInterface("wlan0", ETHERNET, UP), patterns, sysfs).metered
    assert circumstances_of(NetworkInterface("eth1", ETHERNET, UP), patterns, sysfs).metered
    assert not circumstances_of(NetworkInterface("eth0", ETHERNET, UP), patterns, sysfs).metered


def test_a_cable_that_is_out() -> None:
    """Up is not enough, there must be a carrier; loopback leads nowhere."""
    assert NetworkInterface("eth0", ETHERNET, UP).carries
    assert not NetworkInterface("eth0", ETHERNET, 0x1003).carries
    assert NetworkInterface("lo", LOOPBACK, 0x10049).loopback
