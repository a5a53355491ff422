"""The setting with the URL of a proxy."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.contracts.faults import in_words
from aoi_events.platform.proxy import proxy_url

FORM = "must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"
COLON = "the user name must not contain a colon (%3A)"
LATIN = "user name and password must consist of Latin-1 characters"


@pytest.mark.parametrize(
    "text, words",
    [
        ("proxy:3128", FORM),
        ("https://aoi:hunter2@proxy:3128", FORM),
        ("socks5://aoi:hunter2@proxy", FORM),
        ("http://aoi:hunter2@proxy:port", FORM),
        ("http://aoi:hunter2@proxy:0", FORM),
        ("http://aoi:hunter2@proxy/path", FORM),
        ("http://", FORM),
        ("http://a%3Aoi:hunter2@proxy:3128", COLON),
        ("http://aoi:hunter2%D0%B9@proxy:3128", LATIN),
        ("http://aoi:hunter2\u0439@proxy:3128", LATIN),
        ("http://%E2%82%AC:hunter2@proxy:3128", LATIN),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, words: str) -> None:
    """The words say what can be used, in one line, and never repeat a password."""
    with pytest.raises(ValidationError) as caught:
        OutgoingSettings.model_validate({"proxy": text})
    (fault,) = caught.value.errors()
    assert in_words(fault) == words
    assert "hunter2" not in str(caught.value)


def test_the_password_is_a_secret() -> None:
    """Settings do not show it, and the URL has it for the proxy."""
    text = "http://aoi:hunter%3A2%2F3%C3%A9@proxy:3128"
    settings = OutgoingSettings.model_validate({"proxy": text})
    assert "hunter" not in repr(settings)
    assert proxy_url(text).password == "hunter:2/3é"
