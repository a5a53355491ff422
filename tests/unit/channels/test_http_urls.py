"""Which URLs and which addresses of devices are taken; nothing is looked up here."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from aoi_events.channels.base.http.addresses import permitted
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.channels.base.http.urls import BadUrl, checked_url

DEFAULT = OutgoingSettings()
OPEN = OutgoingSettings.model_validate({"allow_http": True, "ports": []})


@pytest.mark.parametrize(
    "text, spelled",
    [
        ("https://push.example.org", "https://push.example.org/"),
        ("HTTPS://PUSH.Example.org:443/A/%7e?q=B", "https://push.example.org/A/%7e?q=B"),
        ("https://_dmarc.example.org/", "https://_dmarc.example.org/"),
        ("https://xn--exmple-cua.org/", "https://xn--exmple-cua.org/"),
        ("https://1.1.1.1/", "https://1.1.1.1/"),
        ("https://[2606:4700:0::1111]/", "https://[2606:4700::1111]/"),
        ("https://[::ffff:1.1.1.1]/", "https://[::ffff:101:101]/"),
    ],
)
def test_good_urls_have_one_spelling(text: str, spelled: str) -> None:
    """Scheme, host and port in their shortest form, the rest as the device wrote it."""
    assert checked_url(text, DEFAULT) == spelled
    assert checked_url(spelled, DEFAULT) == spelled


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "ASCII"),
        ("https://push.example.org/" + "a" * 4_072, "4096"),
        ("push.example.org/", "https://"),
        ("http://push.example.org/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://push.example.org/", "https://"),
        ("https://user@push.example.org/", "password"),
        ("https://user:secret@push.example.org/", "password"),
        ("https://public.example@127.0.0.1/", "password"),
        ("https://push.example.org/#part", "fragment"),
        ("https://push.example.org:8443/", "443"),
        ("https://push.example.org:22/", "443"),
        ("https://push.example.org:99999/", "like https"),
        ("https://push.example.org:x/", "like https"),
        ("https://push.example.org/a b", "ASCII"),
        ("https://push.example.org/\r\nHost: other", "ASCII"),
        ("https://push.example.org\\@127.0.0.1/", "ASCII"),
        ("https://exämple.org/", "ASCII"),
        ("https:///path", "name of a host"),
        ("https://push..example.org/", "name of a host"),
        ("https://push.example.org./", "name of a host"),
        ("https://-a.example.org/", "name of a host"),
        ("https://%31%32%37.0.0.1/", "decimal"),
        ("https://127.0.0.1/", "public"),
        ("https://10.1.2.3/", "public"),
        ("https://169.254.169.254/latest/meta-data", "public"),
        ("https://0.0.0.0/", "public"),
        ("https://2130706433/", "decimal"),
        ("https://0x7f000001/", "decimal"),
        ("https://0x7f.0.0.1/", "decimal"),
        ("https://0177.0.0.1/", "decimal"),
        ("https://127.1/", "decimal"),
        ("https://1.2.3.0x4/", "decimal"),
        ("https://[::1]/", "public"),
        ("https://[::]/", "public"),
        ("https://[::ffff:127.0.0.1]/", "public"),
        ("https://[64:ff9b::10.0.0.1]/", "public"),
        ("https://[fe80::1%25eth0]/", "brackets"),
        ("https://[fe80::1]/", "public"),
        ("https://[fd00::1]/", "public"),
        ("https://[1:2]/", "like https"),
        ("https://[::1", "like https"),
        ("https://[2606:4700::1111]x/", "like https|brackets"),
    ],
)
def test_other_urls_say_what_to_offer(text: str, says: str) -> None:
    """Each kind of bad URL is refused with words that fit it, and do not repeat it."""
    with pytest.raises(BadUrl, match=says) as refused:
        checked_url(text, DEFAULT)
    assert str(refused.value).startswith("offer ")
    assert len(text) < 12 or text not in str(refused.value)


def test_operators_allow_more() -> None:
    """Networks, ports and plain HTTP are the operator's choice, each for itself."""
    settings = OutgoingSettings.model_validate({"networks": ["127.0.0.0/8"]})
    assert checked_url("https://127.0.0.1/", settings) == "https://127.0.0.1/"
    assert checked_url("https://[::ffff:127.0.0.1]/", settings) == "https://[::ffff:7f00:1]/"
    with pytest.raises(BadUrl, match="public"):
        checked_url("https://10.0.0.1/", settings)
    assert checked_url("http://a.example:8080/", OPEN) == "http://a.example:8080/"
    assert checked_url("http://a.example:80/", OPEN) == "http://a.example/"


@given(st.text(max_size=60) | st.from_regex(r"https?://[!-~]{0,40}", fullmatch=True))
def test_any_text_is_spelled_or_refused(text: str) -> None:
    """Whatever a device sends: one spelling that stays as it is and that the HTTP library reads as
    the same host, or a refusal; never a fault.
    """
    try:
        spelled = checked_url(text, OPEN)
    except BadUrl:
        return
    assert checked_url(spelled, OPEN) == spelled
    read = URL(spelled, encoded=True)
    assert read.user is read.password is None
    assert not read.fragment
    assert read.host is not None
    try:
        literal = ipaddress.ip_address(read.host)
    except ValueError:
        assert spelled.startswith((f"https://{read.host}", f"http://{read.host}"))
    else:
        assert permitted(str(literal), ())


@pytest.mark.parametrize(
    "address",
    [
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::c0a8:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "fe80::1%lo",
        "2606:4700::1111%lo",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "localhost",
        "",
        "1.1.1",
    ],
)
def test_what_is_not_public_is_not_permitted(address: str) -> None:
    """Private, loopback, link-local, multicast, reserved, and IPv4 of such kinds inside IPv6."""
    assert not permitted(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "172.32.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::808:808",
    ],
)
def test_public_addresses_are_permitted(address: str) -> None:
    """What everybody can reach; over NAT64, too."""
    assert permitted(address, ())


@given(st.ip_addresses())
def test_nothing_is_permitted_that_python_calls_private(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Our list is never wider than that of the library; a network that is allowed is."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        inside = [ipaddress.ip_network("::ffff:0:0/96"), ipaddress.ip_network("64:ff9b::/96")]
        other = any(address in network for network in inside)  # counts as what is inside of it
        assert other or not permitted(str(address), ())
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    assert permitted(str(address), everything)
