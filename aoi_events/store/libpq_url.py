"""The store's URL as libpq reads it, checked before anything is connected.

What may stand in it is written in PostgreSQL's documentation, 32.1.1.2 (URIs) and 32.1.2 (names).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aoi_events.errors import ConfigurationError
from aoi_events.platform.settings import host

_FORM: Final = "postgresql://user:password@host:5432/database"
_ATTRIBUTES: Final = "target_session_attrs"
_FOR_WRITING: Final = ("read-write", "primary", "any")
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_WHOLE_NUMBERS: Final = (
    *("connect_timeout", "tcp_user_timeout"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
)
_LARGEST: Final = 2**31 - 1
_NOWHERE: Final = "-"
"""An address that is none: libpq checks all values before it looks at addresses."""


def parameters_of(url: str) -> dict[str, str]:
    """The parameters in ``url``, by libpq's names; of several servers the writable one counts.

    Raises ConfigurationError for what libpq cannot use, and where no server would take writes; its
    text repeats no part of a password.
    """
    _check_names(url)
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except ProgrammingError:
        raise _unreadable() from None
    hosts, ports = parameters.get("host", ""), parameters.get("port", "")
    # A password with one of these characters ends too early, and its rest is host or port.
    if "@" in hosts or not (ports.replace(",", "") or "0").isdecimal():
        raise _unreadable()
    _check_hosts(hosts)
    _check_values(parameters)
    several = _servers(parameters) > 1
    # One that refuses writes in another way than by its mode would be tried for ever.
    possible = _FOR_WRITING[:1] if several else _FOR_WRITING
    if several:
        parameters.setdefault(_ATTRIBUTES, possible[0])
    if parameters.get(_ATTRIBUTES, possible[0]) not in possible:
        raise ConfigurationError(
            f"the store's URL has {_ATTRIBUTES}={parameters[_ATTRIBUTES]}; use {possible[0]}, or "
            "leave it out"
        )
    return parameters


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        f"the store's URL cannot be read; use {_FORM}, and write @ / ? % of a password as %40 "
        "%2F %3F %25"
    )


def _servers(parameters: Mapping[str, str]) -> int:
    return (parameters.get("host") or parameters.get("hostaddr", "")).count(",") + 1


def _check_names(url: str) -> None:
    query = url.partition("?")[2]
    if "@" in query:  # it began within a password
        raise _unreadable()
    words = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in words]
    known = {"ssl", *(each.keyword.decode() for each in pq.Conninfo.get_defaults())}
    for name, value in words:
        if name == "ssl" and value != "true":
            raise ConfigurationError(
                f"the store's URL has ssl={value!r}; use sslmode=require or sslmode=verify-full"
            )
        if name not in known:
            raise ConfigurationError(
                f"the store's URL has {name!r}, which PostgreSQL's libpq does not know; it knows "
                "sslmode, sslrootcert, connect_timeout, options, … (PostgreSQL's documentation, "
                "32.1.2)"
            )
        if names.count(name) > 1:
            raise ConfigurationError(
                f"the store's URL has {name!r} twice; several servers are written as "
                "postgresql://user@one:5432,[::2]:5432/database"
            )


def _check_hosts(hosts: str) -> None:
    for name in hosts.split(","):
        if name and not name.startswith("/"):  # a folder with the server's socket
            try:
                host(name)
            except ValueError as error:
                raise ConfigurationError(
                    f"the store's URL has the host {name!r}; it {error}"
                ) from None


def _check_values(parameters: Mapping[str, str]) -> None:
    for name in _FILES:
        if (file := parameters.get(name, "system")) != "system" and not Path(file).is_file():
            raise ConfigurationError(f"the store's URL has {name}={file!r}, which is no file")
    for name in _WHOLE_NUMBERS:
        value = parameters.get(name, "0")
        if not value.isdecimal() or int(value) > _LARGEST:
            raise ConfigurationError(f"the store's URL has {name}={value!r}; use a whole number")
    addresses = ",".join([_NOWHERE] * _servers(parameters))
    # The servers of a service are unknown here.
    nowhere = {"port": "5432", **parameters, "host": addresses, "hostaddr": addresses}
    found = pq.PGconn.connect_start(make_conninfo("", **nowhere).encode())
    reason = found.get_error_message().splitlines()[0]
    found.finish()
    if not reason.startswith("could not parse network address"):
        raise ConfigurationError(f"the store's URL cannot be used: {reason}")
