"""The stored part of a message that could not be handled: no secrets, and a bounded size."""

from __future__ import annotations

import pytest

from aoi_events.domain.parked import MAX_PARKED, redact

SECRET = b"q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k"


@pytest.mark.parametrize(
    "body",
    [
        b'{"secret": "%s"}',
        b'{"previous": {"SECRET" :\n"%s"}}',
        b'{"code": "%s\\"", "secret": "x"',
        b'{"version": 1, "secret": "%s',
        b'{"version": 1, "secret": "%s\\',
        b'{"assertion": "' + b"e" * 9_000 + b'%s"}',
        b'{"password": "%s" ' + b" " * MAX_PARKED,
        b" " * (MAX_PARKED - 40) + b'{"secret": "%s',
    ],
)
def test_secrets_are_not_kept(body: bytes) -> None:
    """Secrets are redacted, wherever the body breaks off; then it cannot be replayed."""
    kept, obstacle = redact(body % SECRET)
    assert SECRET not in kept
    assert b"[redacted]" in kept
    assert len(kept) <= MAX_PARKED
    assert obstacle == "a secret was redacted"


@pytest.mark.parametrize("body", [b'{"notification": "n1"}', b'{"secret": ""}', b'"secret"', b""])
def test_what_holds_no_secret_is_kept_as_it_came(body: bytes) -> None:
    """A replay sends the same octets."""
    assert redact(body) == (body, None)


def test_what_is_too_large_is_cut() -> None:
    """The body is bounded, and says why it cannot be replayed."""
    kept, obstacle = redact(b"x" * (MAX_PARKED + 1))
    assert len(kept) == MAX_PARKED
    assert obstacle == f"the body was cut at {MAX_PARKED} octets"
