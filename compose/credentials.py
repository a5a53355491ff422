"""Makes the credentials of an installation once, and hands to each service its own and no other's.

Without arguments, before everything else starts: makes a password for each broker user and for the
store, and the server's keys, where there are none yet; then writes what follows from them. `url
NAME` prints where an Application Server, or `operator`, logs in.

    FOLDER/passwords.json     every password; only `aoi-setup` may read it
    FOLDER/keys.json          the server's keys; group aoi-keys
    FOLDER/channels.json      keys of webhooks and Web Push; only `aoi-setup` may read it
    FOLDER/<role>.toml        broker, store and channel keys, as far as the role may have them;
                              group aoi-<role>
    BROKER/definitions.json   broker/definitions.json with hashes, for RabbitMQ to import
    STORE/password            for PostgreSQL's first start

Passwords are made here because one that stood in the repository would be everybody's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from aoi_events.bootstrap.keys import create_key_file
from aoi_events.channels.webhook.settings import SIGNING_OCTETS
from aoi_events.channels.webpush.vapid import new_key
from aoi_events.errors import ConfigurationError

FOLDER: Final = Path("/run/aoi")
BROKER: Final = Path("/run/aoi-broker")
STORE: Final = Path("/run/aoi-store")
TEMPLATE: Final = Path(__file__).parent / "broker" / "definitions.json"

EXAMPLE: Final = "shop"
"""The Application Server in the template; every other one gets the same permissions."""
OPERATOR: Final = "operator"
DATABASE: Final = "postgres"
_OF_WORKERS: Final = "aoi-"
_WITHOUT_STORE: Final = ("aoi-gateway", "aoi-endpoint")
"""Who faces the world, and needs the broker only."""
# Letters, digits and hyphens mean themselves in the patterns and routing keys they are put into.
_NAME: Final = re.compile(r"^(?!aoi)[a-z][a-z0-9-]{0,30}$")


def application_servers() -> list[str]:
    """The names in AOI_APPLICATION_SERVERS. Raises ConfigurationError."""
    names = os.environ.get("AOI_APPLICATION_SERVERS", EXAMPLE).replace(",", " ").split()
    for name in names:
        if not _NAME.match(name) or name in (OPERATOR, DATABASE):
            raise ConfigurationError(
                f"AOI_APPLICATION_SERVERS: {name!r} cannot be the name of an Application Server; "
                "take up to 31 small letters, digits and hyphens, a letter first, not 'aoi…', "
                f"{OPERATOR!r} or {DATABASE!r}"
            )
    return sorted(set(names))


def definitions(template: dict[str, Any], servers: list[str]) -> dict[str, Any]:
    """The template with the Application Servers in place of the example."""
    grown: dict[str, Any] = {part: template[part] for part in ("vhosts", "policies")}
    for part, key in (("users", "name"), ("permissions", "user"), ("topic_permissions", "user")):
        rows = grown[part] = []
        for row in template[part]:
            if row[key] != EXAMPLE:
                rows.append(row)
                continue
            text = json.dumps(row)
            rows += [json.loads(re.sub(rf"\b{EXAMPLE}\b", name, text)) for name in servers]
    return grown


def with_passwords(defined: dict[str, Any], passwords: dict[str, str]) -> dict[str, Any]:
    """The definitions with each user's password, salted and hashed as RabbitMQ does it."""
    users = []
    for user in defined["users"]:
        salt = secrets.token_bytes(4)
        digest = hashlib.sha256(salt + passwords[user["name"]].encode()).digest()
        users.append(
            {
                **user,
                "password_hash": base64.b64encode(salt + digest).decode(),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
            }
        )
    return {**defined, "users": users}


def write(path: Path, text: str, *, mode: int, group: str | None = None) -> None:
    """Put a file into its place whole, never readable by more than may read it."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if group is not None:
        shutil.chown(scratch, group=group)
    scratch.chmod(mode)
    scratch.replace(path)


def known_passwords() -> dict[str, str]:
    """What was made before; nothing at the first start."""
    try:
        return dict(json.loads((FOLDER / "passwords.json").read_text()))
    except FileNotFoundError:
        return {}


def channel_keys() -> dict[str, dict[str, dict[str, str]]]:
    """By worker, then channel: what of the keys that were made once it needs."""
    file = FOLDER / "channels.json"
    if not file.exists():
        private, public = new_key()
        signing_key = base64.b64encode(secrets.token_bytes(SIGNING_OCTETS)).decode()
        made = {"signing_key": signing_key, "private_key": private, "public_key": public}
        write(file, json.dumps(made), mode=0o400)
    keys = json.loads(file.read_text())
    signing = {"signing_key": keys["signing_key"]}
    return {
        "activation": {"webhook": signing, "webpush": {"public_key": keys["public_key"]}},
        "webhook": {"webhook": signing},
        "webpush": {"webpush": {"private_key": keys["private_key"]}},
    }


def make() -> None:
    """Make what is missing, and write what follows from it."""
    servers = application_servers()
    defined = definitions(json.loads(TEMPLATE.read_text()), servers)
    users = [user["name"] for user in defined["users"]]
    passwords = known_passwords()
    for name in (*users, DATABASE):
        passwords.setdefault(name, secrets.token_urlsafe(24))
    write(FOLDER / "passwords.json", json.dumps(passwords), mode=0o400)

    store = f"postgresql://aoi:{passwords[DATABASE]}@postgres/aoi"
    for_channels = channel_keys()
    for user in users:
        if user.startswith(_OF_WORKERS):
            role = user.removeprefix(_OF_WORKERS)
            broker = f"amqp://{user}:{passwords[user]}@rabbitmq/aoi"
            text = f'broker = "{broker}"\n'
            if user not in _WITHOUT_STORE:
                text += f'store = "{store}"\n'
            for channel, keys_of in for_channels.get(role, {}).items():
                text += f"[channels.{channel}]\n"
                text += "".join(f'{name} = "{key}"\n' for name, key in keys_of.items())
            write(FOLDER / f"{role}.toml", text, mode=0o440, group=user)

    keys = FOLDER / "keys.json"
    if not keys.exists():
        scratch = FOLDER / ".keys.json.new"
        scratch.unlink(missing_ok=True)
        create_key_file(scratch)
        shutil.chown(scratch, group="aoi-keys")
        scratch.chmod(0o440)
        scratch.replace(keys)

    # The users of these two images have other numbers; nobody else mounts the folders.
    finished = json.dumps(with_passwords(defined, passwords), indent=1)
    write(BROKER / "definitions.json", finished, mode=0o444)
    write(STORE / "password", passwords[DATABASE], mode=0o444)
    print(f"Credentials are there for the workers and for: {', '.join(servers)}.")


def url(name: str) -> str:
    """Where ``name`` logs in, from this machine. Raises ConfigurationError."""
    passwords = known_passwords()
    people = [user for user in passwords if not user.startswith(_OF_WORKERS) and user != DATABASE]
    if name not in people:
        raise ConfigurationError(f"there is no {name!r}; there are {', '.join(sorted(people))}")
    if name == OPERATOR:
        where = os.environ.get("PUBLISH_MANAGEMENT", "127.0.0.1:15672")
        return f"http://{name}:{passwords[name]}@{where}/"
    where = os.environ.get("PUBLISH_AMQP", "127.0.0.1:5672")
    return f"amqp://{name}:{passwords[name]}@{where}/aoi"


def main(arguments: list[str]) -> int:
    """What the command line asked for; the exit code."""
    try:
        match arguments:
            case []:
                make()
            case ["url", name]:
                print(url(name))
            case _:
                raise ConfigurationError("usage: credentials.py [url NAME]")
    except (ConfigurationError, OSError) as error:
        print(f"credentials: {error}", file=sys.stderr)
        return 78
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
