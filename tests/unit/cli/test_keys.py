"""``aoi keys``: the keys that everything hangs on."""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import stat
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from aoi_events.bootstrap.installation import open_installation
from aoi_events.bootstrap.keys import create_key_file, load_key_file
from aoi_events.bootstrap.plugins import configure, installed_plugins
from aoi_events.bootstrap.settings import load_settings
from aoi_events.channels.webhook import WebhookSettings
from aoi_events.channels.webpush import WebPushSettings
from aoi_events.domain.clients.tokens import TokenClaims, fingerprint_of
from aoi_events.endpoint.api_keys import name_of
from aoi_events.endpoint.settings import EndpointSettings
from aoi_events.errors import ConfigurationError
from aoi_events.store.store import open_store
from tests.support.commands import Cli
from tests.support.limits import WITHIN
from tests.support.rows import a_client, an_application

_AT_ONCE = 8


def test_keys_are_readable_by_their_owner_only(cli: Cli, tmp_path: Path) -> None:
    """A new file has mode 0600 and keys that work."""
    ran = cli("keys", "new", "--file", tmp_path / "keys.json")
    assert ran.code == 0
    assert "Keep the file secret" in ran.out
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    load_key_file(tmp_path / "keys.json")


def test_the_file_of_the_settings_is_the_default(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``--file``, AOI_KEY_FILE says where."""
    monkeypatch.setenv("AOI_KEY_FILE", str(tmp_path / "mine.json"))
    assert cli("keys", "new").code == 0
    assert (tmp_path / "mine.json").exists()


def test_a_new_token_key_comes_in_two_steps(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First every worker gets it, then it issues; tokens of the old one stay valid all the time,
    the challenge key stays, and so do the rights of the file.
    """
    file = tmp_path / "keys.json"
    monkeypatch.setenv("AOI_KEY_FILE", str(file))
    cli("keys", "new")
    first = load_key_file(file)
    claims = TokenClaims("cli_" + "a" * 26, "00" * 16, 1)
    token = first.token_keys.issue(claims)
    added = cli("keys", "add")
    assert "aoi keys issue k2" in added.out
    between = load_key_file(file)
    assert between.token_keys.ids == ("k1", "k2")
    assert cli("keys", "issue", "k2").code == 0
    after = load_key_file(file)
    assert after.token_keys.ids == ("k2", "k1")
    assert after.token_keys.verify(token) == claims
    assert between.token_keys.verify(after.token_keys.issue(claims)) == claims
    assert after.challenge_key == first.challenge_key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.glob(".keys*")) == []
    unknown = cli("keys", "issue", "k7")
    assert unknown.code == 78
    assert "aoi keys add" in unknown.err
    monkeypatch.setenv("AOI_TOKEN_KEYS", '{"k1": "x"}')
    elsewhere = cli("keys", "add")
    assert elsewhere.code == 78
    assert "AOI_TOKEN_KEYS" in elsewhere.err


def test_two_files_have_different_keys(cli: Cli, tmp_path: Path) -> None:
    """Keys are drawn anew each time."""
    for name in ("a", "b"):
        cli("keys", "new", "--file", tmp_path / name)
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_keys_of_channels_are_settings(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What ``aoi keys webhook`` and ``vapid`` print can be set as it is, together with networks and
    ports in the same way, and a file beside it; each time it is another key.
    """
    assert cli("keys", "webhook").out != cli("keys", "webhook").out
    lines = (cli("keys", "webhook").out + cli("keys", "vapid").out).splitlines()
    for name, _, value in (line.partition("=") for line in lines):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AOI_CHANNELS__WEBHOOK__NETWORKS", '["10.0.0.0/8", "fd00::/8"]')
    monkeypatch.setenv("AOI_CHANNELS__WEBHOOK__PORTS", "[]")
    file = tmp_path / "aoi.toml"
    file.write_text("[channels.webhook]\nenabled = true\n[channels.webpush]\nenabled = true\n")
    monkeypatch.setenv("AOI_CONFIG", str(file))
    plugins = configure(installed_plugins(), load_settings().channels)
    webhook, webpush = plugins.settings["webhook"], plugins.settings["webpush"]
    assert isinstance(webhook, WebhookSettings)
    assert isinstance(webpush, WebPushSettings)
    assert (len(webhook.networks), webhook.ports) == (2, ())
    assert len(webhook.signing_octets or b"") == 32
    assert webpush.application_server_key == webpush.public_key
    assert lines[1].partition("=")[2] not in repr(webpush)


@pytest.mark.parametrize(
    "name, value",
    [
        ("WEBHOOK__SIGNING_KEY", "c2hvcnQ="),
        ("WEBHOOK__SIGNING_KEY", "not base64 at all, and long enough to be a key"),
        ("WEBHOOK__NETWORKS", "10.0.0.0/8"),
        ("WEBHOOK__PORTS", "[0]"),
        ("WEBPUSH__PRIVATE_KEY", "AAAA"),
        ("WEBPUSH__PRIVATE_KEY", "A" * 43),
        ("WEBPUSH__PUBLIC_KEY", "AAAA"),
        ("WEBPUSH__CONTACT", "ops@example.org"),
    ],
)
def test_wrong_settings_of_channels_are_named_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Which variable is wrong, and how it should be; keys never show."""
    monkeypatch.setenv(f"AOI_CHANNELS__{name}", value)
    with pytest.raises(ConfigurationError, match=f"AOI_CHANNELS__{name}") as refused:
        configure(installed_plugins(), load_settings().channels)
    assert value not in str(refused.value)


def test_a_public_key_belongs_to_its_private_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves of different pairs would make pushes that no service takes."""
    private, _ = cli("keys", "vapid").out.splitlines()
    _, public = cli("keys", "vapid").out.splitlines()
    for name, _, value in (line.partition("=") for line in (private, public)):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="does not belong"):
        configure(installed_plugins(), load_settings().channels)


def test_keys_are_never_overwritten(cli: Cli, tmp_path: Path) -> None:
    """An existing file is kept: tokens depend on it."""
    file = tmp_path / "keys.json"
    cli("keys", "new", "--file", file)
    before = file.read_text()
    ran = cli("keys", "new", "--file", file)
    assert ran.code == 78
    assert "exists; tokens made with its keys would all become invalid" in ran.err
    assert file.read_text() == before


def test_processes_that_start_at_once_get_the_keys_of_one(tmp_path: Path) -> None:
    """One of them makes the file; to the others it is complete as soon as it is there."""
    file, together = tmp_path / "keys.json", Barrier(_AT_ONCE)

    def start() -> tuple[bool, bytes]:
        together.wait(WITHIN)
        return create_key_file(file), load_key_file(file).challenge_key

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        results = [each.result() for each in [threads.submit(start) for _ in range(_AT_ONCE)]]
    assert sorted(made for made, _ in results) == [*[False] * (_AT_ONCE - 1), True]
    assert len({key for _, key in results}) == 1
    assert list(tmp_path.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_told(cli: Cli, tmp_path: Path) -> None:
    """Which file cannot be written, and why."""
    ran = cli("keys", "new", "--file", tmp_path / "no" / "keys.json")
    assert ran.code == 78
    assert "keys.json: No such file or directory" in ran.err


def write_keys(*ids: str) -> None:
    """A key file with these token keys, in this order."""
    key = base64.b64encode(bytes(64)).decode()
    body = {"tokens": dict.fromkeys(ids, key), "challenge": base64.b64encode(bytes(32)).decode()}
    Path("aoi-keys.json").write_text(json.dumps(body))


def give_out(tokens: Mapping[str, int]) -> None:
    """A store in which so many tokens were made with each key."""

    async def run() -> None:
        store = await open_store("sqlite:///aoi.sqlite3", upgrade=True)
        async with store.transaction() as tx:
            await tx.save_clients([a_client(1)])
            await tx.save_applications(
                [
                    an_application(1, f"{key}.{number}", key_id=key)
                    for key, count in tokens.items()
                    for number in range(count)
                ]
            )
        await store.close()

    asyncio.run(run())


def test_the_list_says_which_key_may_go(cli: Cli) -> None:
    """For each key: whether it issues, how many tokens need it, or that it may be removed."""
    write_keys("k3", "k2", "k1")
    give_out({"k2": 2, "k9": 1})
    ran = cli("keys", "list")
    assert ran.code == 0
    assert [line.split(maxsplit=1) for line in ran.out.splitlines()] == [
        ["k3", "issuing, 0 tokens"],
        ["k2", "in use, 2 tokens"],
        ["k1", "may be removed"],
        ["k9", "missing, and 1 token needs it: put it back"],
    ]
    told = json.loads(cli("keys", "list", "--json").out)["keys"]
    assert [(row["key"], row["tokens"], row["removable"]) for row in told] == [
        ("k3", 0, False),
        ("k2", 2, False),
        ("k1", 0, True),
        ("k9", 1, False),
    ]


def test_no_worker_starts_without_a_key_that_is_in_use(cli: Cli) -> None:
    """Its deliveries would be lost one by one; so exit code 78, and which key is missing."""
    write_keys("k2")
    give_out({"k1": 2, "k2": 1})

    async def run() -> None:
        async with open_installation(load_settings(), alone=True):
            pass

    with pytest.raises(ConfigurationError, match="token key k1 is missing, and 2 tokens"):
        asyncio.run(run())


def test_no_worker_starts_with_another_key_under_an_id_in_use(cli: Cli) -> None:
    """The ID alone says little: every installation's first key is called k1. Exit code 78 again,
    and what is wrong; with the key that made the token, the worker starts.
    """

    async def run() -> None:
        async with (
            open_installation(load_settings(), alone=True) as found,
            found.store.transaction() as tx,
        ):
            client, app = a_client(), an_application()
            token = found.services.token_keys.issue(app.claims, app.key_id)
            await tx.save_clients([client])
            await tx.save_applications([replace(app, fingerprint=fingerprint_of(token))])

    asyncio.run(run())
    asyncio.run(run())
    Path("aoi-keys.json").unlink()
    assert cli("keys", "new").code == 0
    with pytest.raises(ConfigurationError, match="token key k1 is not the one that 1 tokens"):
        asyncio.run(run())


def test_a_lost_key_file_is_not_replaced(cli: Cli) -> None:
    """Where tokens were given out, ``aoi up`` makes no new keys in place of a file that is gone."""
    give_out({"k1": 2})

    async def run() -> None:
        async with open_installation(load_settings(), alone=True):
            pass

    with pytest.raises(ConfigurationError, match=r"no key file aoi-keys\.json, but 2 tokens"):
        asyncio.run(run())
    assert not Path("aoi-keys.json").exists()


def test_an_api_key_is_shown_once_and_kept_as_a_hash(cli: Cli) -> None:
    """What is printed fits together, and is another one each time."""
    made = [cli("keys", "api", "shop", "--json").json for _ in range(2)]
    assert made[0]["key"] != made[1]["key"]
    for each in made:
        settings = EndpointSettings(api_keys={each["name"]: each["hash"]})
        assert name_of(each["key"], settings.api_keys) == "shop"
    said = cli("keys", "api", "shop").out
    _, _, _, variable, _, *table, _, line = said.splitlines()
    assert tomllib.loads("\n".join(table))["endpoint"]["api_keys"].keys() == {"shop"}
    name, _, value = line.strip().partition("=")
    assert shlex.split(variable) == ["export", f"{name}={value}"]
    assert name == "AOI_ENDPOINT__API_KEYS"
    assert json.loads(value).keys() == {"shop"}
    assert "shown once" in said
    assert cli("keys", "api", "a b").code == 78
