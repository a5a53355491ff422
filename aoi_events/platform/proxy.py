"""The URL of an HTTP proxy for outgoing connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, SecretStr

if TYPE_CHECKING:
    from yarl import URL

from aoi_events.platform.settings import host

_FORM: Final = "must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"


def proxy_url(text: str) -> URL:
    """The proxy's URL, with its credentials. Raises ValueError, which never repeats the text."""
    from yarl import URL  # every command reads settings, and few have a proxy

    try:
        url = URL(text)
    except ValueError:
        raise ValueError(_FORM) from None
    try:
        named = url.scheme == "http" and host(url.host or "") and url.port
    except ValueError:
        named = False
    if not named or url.path != "/" or url.query or url.fragment:
        raise ValueError(_FORM)
    if ":" in (url.user or ""):
        raise ValueError("the user name must not contain a colon (%3A)")
    try:
        f"{url.user}{url.password}".encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("user name and password must consist of Latin-1 characters") from None
    return url


def _checked(value: SecretStr) -> SecretStr:
    proxy_url(value.get_secret_value())
    return value


ProxySetting = Annotated[SecretStr, AfterValidator(_checked)]
"""A setting with the URL of a proxy."""
