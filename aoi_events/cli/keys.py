"""``aoi keys``: the server's keys, and API keys for those who send over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from aoi_events.cli.output import Json, console, plain, print_json

app = typer.Typer(no_args_is_help=True)

File = Annotated[
    Path | None, typer.Option(metavar="FILE", help="the key file; default: AOI_KEY_FILE")
]


@app.command("list")
def list_keys(json: Json = False) -> None:
    """List the token keys: which one issues, how many tokens need each, and which may be removed.

    A key that no token needs may be removed once every worker issues with another one.
    """
    from aoi_events.cli.token_keys import print_token_keys

    print_token_keys(json=json)


@app.command()
def webhook() -> None:
    """Print a new key for signing webhooks, as a setting of the workers activation and webhook."""
    import base64
    import secrets

    from aoi_events.channels.webhook.settings import SIGNING_OCTETS

    key = base64.b64encode(secrets.token_bytes(SIGNING_OCTETS)).decode()
    sys.stdout.write(f"AOI_CHANNELS__WEBHOOK__SIGNING_KEY={key}\n")


@app.command()
def vapid() -> None:
    """Print a new key pair for Web Push (VAPID), as two settings.

    The private key is for the worker webpush, the public key for the worker activation; devices
    subscribe with the public key.
    """
    from aoi_events.channels.webpush.vapid import new_key

    private, public = new_key()
    sys.stdout.write(f"AOI_CHANNELS__WEBPUSH__PRIVATE_KEY={private}\n")
    sys.stdout.write(f"AOI_CHANNELS__WEBPUSH__PUBLIC_KEY={public}\n")


@app.command()
def new(file: File = None) -> None:
    """Make a key file that only you can read; all workers of an installation need the same file."""
    from aoi_events.bootstrap.keys import create_key_file
    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.errors import ConfigurationError

    path = file or load_settings().key_file
    if not create_key_file(path):
        raise ConfigurationError(
            f"{path} exists; tokens made with its keys would all become invalid, so it is not "
            "replaced"
        )
    console.print(plain(f"Keys written to {path}."), soft_wrap=True)
    console.print("Keep the file secret, and keep a copy: tokens depend on it.")


@app.command()
def add(file: File = None) -> None:
    """Add a token key that does not issue yet; all workers need it before it may issue."""
    from aoi_events.bootstrap.keys import add_token_key

    path = _key_file(file)
    key_id = add_token_key(path)
    console.print(plain(f"Token key {key_id} added to {path}."), soft_wrap=True)
    console.print(
        plain(f"Give every worker the file, and wait a few seconds; then: aoi keys issue {key_id}"),
        soft_wrap=True,
    )


@app.command()
def issue(
    key: Annotated[str, typer.Argument(metavar="KEY", help="ID of the token key, for example k2")],
    file: File = None,
) -> None:
    """Issue new tokens with this token key from now on; do it once every worker has the key."""
    from aoi_events.bootstrap.keys import issue_with

    path = _key_file(file)
    issue_with(path, key)
    console.print(plain(f"{path} issues with {key}."), soft_wrap=True)
    console.print("Give every worker the file; old tokens stay valid.")


def _key_file(file: Path | None) -> Path:
    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.errors import ConfigurationError

    settings = load_settings()
    if file is None and settings.names_keys:
        raise ConfigurationError(
            "the keys are in AOI_TOKEN_KEYS, whose first key issues; change it there, or give "
            "--file"
        )
    return file or settings.key_file


@app.command()
def api(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="name of the sender, for example shop")
    ],
    json: Json = False,
) -> None:
    """Make an API key for the JSON API of the endpoint; the server stores only its hash."""
    import secrets

    from pydantic import TypeAdapter, ValidationError

    from aoi_events.contracts.senders import KeyName
    from aoi_events.endpoint.api_keys import hash_key, new_key
    from aoi_events.errors import ConfigurationError

    try:
        TypeAdapter(KeyName).validate_python(name)
    except ValidationError:
        raise ConfigurationError(
            f"{name!r} cannot be the name of an API key; use up to 64 letters, digits, dots, "
            "hyphens and underscores, a letter or digit first"
        ) from None
    key = new_key(secrets.token_hex(32))
    if json:
        print_json({"name": name, "key": key, "hash": hash_key(key)})
        return
    console.print(plain(f"Key for {name}: {key}"), soft_wrap=True)
    console.print(plain("It is shown once. The endpoint needs its hash, beside those it has."))
    hashed = hash_key(key)
    variable, value = "AOI_ENDPOINT__API_KEYS", f'{{"{name}": "{hashed}"}}'
    for form, lines in {
        "in the environment": [f"export {variable}='{value}'"],
        "in the file that AOI_CONFIG names": ["[endpoint.api_keys]", f'"{name}" = "{hashed}"'],
        "in compose/settings.env": [f"{variable}={value}"],
    }.items():
        console.print(plain(f"{form}:"))
        for line in lines:
            console.print(plain(f"  {line}"), soft_wrap=True)
