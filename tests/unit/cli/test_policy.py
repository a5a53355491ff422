"""``aoi policy``: a file checked as workers would, a plan explained as workers make it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aoi_events.bootstrap.keys import load_key_file
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import Channel, ChannelState
from aoi_events.domain.clients.client import Presence
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.store.store import open_store
from tests.support.commands import AOI, Cli, environment
from tests.support.pages import block
from tests.support.rows import NOW, a_channel, a_client, an_application

GOOD = 'mode = "hedged"\n[channels.sms]\nleast_urgency = "high"\n[applications.mail]\n'
NUMBER = "+15550100"
PAGE = "docs/how-to/policy.md"
WEBSOCKET = a_channel(0, "websocket", 0)
SMS = a_channel(0, "sms", 1, address=NUMBER, parameters={"msisdn": NUMBER})
WEBHOOK = a_channel(0, "webhook", 2, address="https://device.example/secret-path")


def write(text: str) -> None:
    """The policy file."""
    Path("policy.toml").write_text(text)


def test_a_good_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0, for people and for scripts; without a name, the file of the settings."""
    write(GOOD)
    ran = cli("policy", "check", "policy.toml")
    assert (ran.code, ran.out) == (
        0,
        "policy.toml is valid; applications with rules of their own: mail\n",
    )
    monkeypatch.setenv("AOI_POLICY_FILE", "policy.toml")
    told = cli("policy", "check", "--json").json
    assert (told["valid"], told["faults"], told["applications"]) == (True, [], ["mail"])


def test_a_broken_file(cli: Cli) -> None:
    """Exit code 1, and every key that is wrong with what would be right."""
    write('mode = "both"\n[channels.smss]\n[applications."a.b"]\nhedge = 1')
    ran = cli("policy", "check", "policy.toml")
    assert ran.code == 1
    assert "mode: must be 'fallback', 'parallel' or 'hedged'" in ran.out
    assert 'applications."a.b".hedge: there is no such key; did you mean hedge_after?' in ran.out
    assert "policy.toml is no valid policy" in ran.err
    told = cli("policy", "check", "policy.toml", "--json")
    assert told.code == 1
    assert [fault["key"] for fault in told.json["faults"]] == [
        "mode",
        'applications."a.b".hedge',
        "channels.smss",
    ]
    assert told.json["valid"] is False
    write("[channels.smss]")
    assert "channels.smss: there is no channel 'smss'; did you mean sms?" in (
        cli("policy", "check", "policy.toml").out
    )


def test_no_file(cli: Cli) -> None:
    """None named, or none there: said, and what to do."""
    ran = cli("policy", "check")
    assert ran.code == 78
    assert "name the policy file, or set AOI_POLICY_FILE" in ran.err
    ran = cli("policy", "check", "nothing.toml")
    assert ran.code == 1
    assert "the file cannot be read: No such file" in ran.out


class Place:
    """A store with one client and one app, whose plan is explained."""

    def __init__(self, cli: Cli) -> None:
        self._cli = cli
        cli("keys", "new")
        self.token = ""

    def put(self, channels: Sequence[Channel], *, connected: bool = True, **client: Any) -> None:
        """The client, with these channels."""
        presence = Presence("gw-1", "s1") if connected else None
        keys = load_key_file(Path("aoi-keys.json")).token_keys
        app = an_application(0)
        self.token = keys.issue(app.claims, "k1")

        async def run() -> None:
            store = await open_store("sqlite:///aoi.sqlite3", upgrade=True)
            async with store.transaction() as tx:
                await tx.save_clients([a_client(0, presence=presence, epoch=1, **client)])
                await tx.save_applications([replace(app, fingerprint=fingerprint_of(self.token))])
                await tx.save_channels(channels)
            await store.close()

        asyncio.run(run())

    def explain(self, *options: str) -> str:
        """What is said."""
        ran = self._cli("policy", "explain", self.token, *options)
        assert ran.code == 0, ran.err
        for secret in (self.token, NUMBER, "secret-path"):
            assert secret not in ran.out + ran.err
        return ran.out


@pytest.fixture
def place(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Place:
    """It has an SMSC, and no webhooks."""
    monkeypatch.setenv("AOI_CHANNELS__SMS__HOST", "smsc.example")
    monkeypatch.setenv("AOI_POLICY_FILE", "policy.toml")
    write("")
    return Place(cli)


def test_a_fallback_in_words(place: Place) -> None:
    """Which channel at once, which when, what it costs, and what becomes of it in the end."""
    place.put([WEBSOCKET, SMS])
    lines = place.explain("--ttl", "3600").splitlines()
    assert lines[0].startswith("com.example.news (default) on cli_")
    assert lines[0].endswith(", connected")
    assert lines[1:] == [
        "normal urgency, 100 octets, fallback (built in)",
        "  1. websocket  at once; the content; acknowledged within 10 s",
        (
            "  2. sms        when websocket failed or stayed silent, after 10 s at the latest;"
            " the content, cost 2; acknowledged within 60 s"
        ),
        "Unacknowledged: stored until the device comes back, 3600 s at most.",
    ]


@pytest.mark.parametrize(
    "options, said",
    [
        (["--mode", "parallel"], ["parallel (as the sender wants)", "2. sms        at once"]),
        (
            ["--mode", "hedged", "--hedge-after", "3"],
            ["hedged, head start 3 s (as the sender", "after 3 s unless acknowledged, or when"],
        ),
        (["--size", "3000"], ["3000 octets", "a wake-up, since the content is too large"]),
        (
            ["--ttl", "5"],
            ["only when websocket failed at once: the time to live of 5 s ends before"],
        ),
        (
            ["--mode", "hedged", "--hedge-after", "9", "--ttl", "5"],
            ["only when websocket failed at once: the time to live of 5 s ends before"],
        ),
        (
            ["--mode", "hedged", "--hedge-after", "60", "--ttl", "30"],
            ["2. sms        when websocket failed or stayed silent, after 10 s at the latest"],
        ),
        (["--ttl", "0"], ["time to live 0: it expires after 10 s, and is not stored"]),
    ],
)
def test_what_a_sender_would_say_counts(place: Place, options: list[str], said: list[str]) -> None:
    """Mode, head start, size and time to live change the plan as they would a notification's."""
    place.put([WEBSOCKET, SMS])
    told = place.explain(*options)
    for words in said:
        assert words in told


def test_the_documentation_shows_what_is_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its policy, and what it says of it, to the letter."""
    monkeypatch.setenv("AOI_CHANNELS__WEBHOOK__ENABLED", "true")
    write(block(PAGE, "toml").replace("org.example.mail", "com.example.news"))
    place.put([WEBSOCKET, SMS, replace(WEBHOOK, state=ChannelState.PENDING)])
    told = place.explain("--urgency", "high")
    assert told.replace("com.example.news", "org.example.mail") == block(PAGE, "text")


def test_why_the_others_are_not_used(place: Place) -> None:
    """Not connected, gated, not proved, closed with its reason (and without its address), not
    configured: each channel has its line.
    """
    write('[channels.sms]\nleast_urgency = "high"')
    push = replace(WEBHOOK, type="webpush")
    closed = push.closed(CloseReason.ADDRESS_REFUSED, NOW, f"gone: {push.address}")
    place.put([WEBSOCKET, SMS, WEBHOOK, closed], connected=False)
    told = place.explain()
    for words in (
        "websocket  not used: the device is not connected",
        "sms        not used: the policy keeps it for urgency high and above",
        "webhook    not used: it is not installed, or not configured, here",
        "webpush    not used: closed: the provider refused the address (gone: …)",
        "Unacknowledged: stored until a channel comes that may be used; no channel may be now.",
    ):
        assert words in told
    assert "it expires at once" in place.explain("--ttl", "0")
    assert "1. sms        at once" in place.explain("--urgency", "high")
    place.put([replace(SMS, state=ChannelState.PENDING)])
    assert "not used: its address is not proved yet" in place.explain()
    write("most_cost = 0.5")
    place.put([SMS])
    assert "could cost more than 0.5, the policy's most_cost" in place.explain()


@pytest.mark.parametrize("reason", list(CloseReason))
def test_why_a_channel_was_closed(place: Place, reason: CloseReason) -> None:
    """Each reason is shown to people as a sentence, not as its code."""
    place.put([SMS.closed(reason, NOW)])
    told = place.explain()
    assert "sms        not used: closed: " in told
    assert "_" not in told.partition("closed: ")[2].partition("\n")[0]


def test_the_application_decides_where_the_sender_does_not(place: Place) -> None:
    """Rules of the token's application are those that are explained."""
    write('[applications."com.example.news"]\nmode = "parallel"\n[applications.x]\nmode="hedged"')
    place.put([WEBSOCKET, SMS])
    assert "parallel (as the policy says)" in place.explain()


def test_for_scripts(place: Place) -> None:
    """``--json`` has the same as one document."""
    write('mode = "hedged"\n[channels.sms]\ncost = 2')
    place.put([WEBSOCKET, SMS, WEBHOOK])
    told = json.loads(place.explain("--json"))
    assert (told["mode"], told["hedge_after"], told["cost"]) == ("hedged", 2.0, 4.0), (
        "in two messages"
    )
    assert [(step["channel"], step["start_after"]) for step in told["steps"]] == [
        ("websocket", 0.0),
        ("sms", 2.0),
    ]
    (unused,) = told["not_used"]
    assert (unused["channel"], unused["obstacle"]) == ("webhook", "not_installed")


def test_a_device_without_channels(place: Place) -> None:
    """That there is nothing to explain is said."""
    place.put([])
    assert "the device has no notification channel" in place.explain()


def test_tokens_that_are_none(cli: Cli, place: Place) -> None:
    """Forged, and of a retired client: the code that a sender would get, and no token."""
    place.put([WEBSOCKET])
    forged = place.token[:-4] + ("aaaa" if place.token[-4:] != "aaaa" else "bbbb")
    ran = cli("policy", "explain", forged)
    assert ran.code == 1
    assert "token_forged" in ran.err
    assert forged not in ran.err
    place.put([WEBSOCKET], connected=False, retired_at=a_client().registered_at)
    ran = cli("policy", "explain", place.token)
    assert (ran.code, ran.out) == (1, "")
    assert "token_revoked" in ran.err
    ran = cli("policy", "explain", place.token, "--hedge-after", "2")
    assert ran.code == 2
    assert "--hedge-after needs --mode hedged" in ran.err
    ran = cli("policy", "explain", place.token, "--size", "4097")
    assert (ran.code, ran.err) == (2, "error: --size is 4097; it may be 4096 at most\n")


async def test_a_token_from_standard_input(place: Place, tmp_path: Path) -> None:
    """``-`` keeps the token out of the list of processes."""
    await asyncio.to_thread(place.put, [WEBSOCKET])
    process = await asyncio.create_subprocess_exec(
        *AOI, "policy", "explain", "-", cwd=tmp_path, env=environment(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate(f"{place.token}\n".encode())
    assert process.returncode == 0
    assert b"1. websocket  at once" in out


@pytest.mark.parametrize("text", ['mode = "both"', None])
def test_a_broken_file_explains_nothing(cli: Cli, place: Place, text: str | None) -> None:
    """What no worker would plan by is not explained: 78, and which key."""
    place.put([WEBSOCKET])
    if text is None:
        Path("policy.toml").unlink()
    else:
        write(text)
    ran = cli("policy", "explain", place.token)
    assert ran.code == 78
    assert "policy file policy.toml: " in ran.err
