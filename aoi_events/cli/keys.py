"""``aoi keys``: the server's keys, and API keys for those who send over HTTP."""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from aoi_events.bootstrap.keys import (
    add_token_key,
    create_key_file,
    issue_with,
    load_keys,
)
from aoi_events.bootstrap.settings import Settings, load_settings
from aoi_events.channels.webhook.settings import SIGNING_OCTETS
from aoi_events.channels.webpush.vapid import new_key as new_vapid_key
from aoi_events.cli.output import console, plain, print_json
from aoi_events.contracts.senders import KeyName
from aoi_events.endpoint.api_keys import hash_key, new_key
from aoi_events.errors import ConfigurationError
from aoi_events.store.store import open_store

__all__ = ["app"]

app = typer.Typer(help="The server's keys.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The server's keys."""


@app.command("list")
def list_keys(
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the token keys: which one issues, how many tokens need each, and which may go.

    A key that no token needs may be removed once every worker issues with another one.
    """
    settings = load_settings()
    keys = load_keys(settings).token_keys
    in_use = asyncio.run(_in_use(settings))
    ids = [*keys.ids, *sorted(in_use.keys() - set(keys.ids))]
    rows = [
        {
            "key": key_id,
            "issuing": key_id == keys.issuing,
            "tokens": in_use.get(key_id, 0),
            "missing": key_id not in keys.ids,
            "removable": key_id != keys.issuing and not in_use.get(key_id),
        }
        for key_id in ids
    ]
    if json:
        print_json({"keys": rows})
        return
    for row in rows:
        console.print(plain(f"{row['key']:<16}  {_said(row)}"), soft_wrap=True)


def _said(row: dict[str, Any]) -> str:
    tokens = "1 token" if row["tokens"] == 1 else f"{row['tokens']} tokens"
    if row["missing"]:
        return f"missing, and {tokens} need{'s' * (row['tokens'] == 1)} it: put it back"
    if row["issuing"]:
        return f"issuing, {tokens}"
    return "may be removed" if row["removable"] else f"in use, {tokens}"


async def _in_use(settings: Settings) -> Mapping[str, int]:
    store = await open_store(settings.store.get_secret_value())
    try:
        await store.check()
        async with store.transaction(read_only=True) as tx:
            return await tx.token_keys_in_use()
    finally:
        await store.close()


@app.command()
def webhook() -> None:
    """Print a new key for webhooks, as a setting of the workers activation and webhook."""
    key = base64.b64encode(secrets.token_bytes(SIGNING_OCTETS)).decode()
    sys.stdout.write(f"AOI_CHANNELS__WEBHOOK__SIGNING_KEY={key}\n")


@app.command()
def vapid() -> None:
    """Print a new key pair for Web Push (VAPID): the private key is a setting of the worker
    webpush, the public one of the worker activation, and what devices subscribe with.
    """
    private, public = new_vapid_key()
    sys.stdout.write(f"AOI_CHANNELS__WEBPUSH__PRIVATE_KEY={private}\n")
    sys.stdout.write(f"AOI_CHANNELS__WEBPUSH__PUBLIC_KEY={public}\n")


@app.command()
def new(
    file: Annotated[
        Path | None, typer.Option(help="where to write them; default: AOI_KEY_FILE")
    ] = None,
) -> None:
    """Make a key file, readable by you only; every worker of an installation needs the same one."""
    path = file or load_settings().key_file
    create_key_file(path)
    console.print(plain(f"Keys written to {path}."), soft_wrap=True)
    console.print("Keep the file secret, and keep a copy: tokens depend on it.")


_File = Annotated[Path | None, typer.Option(help="the key file; default: AOI_KEY_FILE")]


@app.command()
def add(file: _File = None) -> None:
    """Add a token key that does not issue yet; all workers must have it before it does."""
    path = _key_file(file)
    key_id = add_token_key(path)
    console.print(plain(f"Token key {key_id} added to {path}."), soft_wrap=True)
    console.print(
        plain(f"Give every worker the file and restart it; then: aoi keys issue {key_id}"),
        soft_wrap=True,
    )


@app.command()
def issue(
    key: Annotated[str, typer.Argument(help="ID of the key, for example k2")], file: _File = None
) -> None:
    """Make a token key the one that new tokens are made with, once every worker has it."""
    path = _key_file(file)
    issue_with(path, key)
    console.print(plain(f"{path} issues with {key}."), soft_wrap=True)
    console.print("Give every worker the file and restart it; old tokens stay valid.")


def _key_file(file: Path | None) -> Path:
    settings = load_settings()
    if file is None and settings.names_keys:
        raise ConfigurationError(
            "the keys stand in AOI_TOKEN_KEYS, whose first one issues; change it there, or give "
            "--file"
        )
    return file or settings.key_file


@app.command()
def api(
    name: Annotated[str, typer.Argument(help="whose key it is, for example shop")],
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Make an API key for the endpoint's JSON API; the server keeps its hash only."""
    try:
        TypeAdapter(KeyName).validate_python(name)
    except ValidationError:
        raise ConfigurationError(
            f"{name!r} cannot be the name of an API key; take up to 64 letters, digits, dots, "
            "hyphens and underscores, a letter or digit first"
        ) from None
    key = new_key(secrets.token_hex(32))
    if json:
        print_json({"name": name, "key": key, "hash": hash_key(key)})
        return
    console.print(plain(f"Key for {name}: {key}"), soft_wrap=True)
    console.print(plain("It is shown once. What the endpoint needs, in AOI_CONFIG's file:"))
    console.print(plain("[endpoint.api_keys]"))
    console.print(plain(f'"{name}" = "{hash_key(key)}"'), soft_wrap=True)
