"""What is refused over HTTP, and how it is said: to Web Push senders, and to those of the JSON API.

The numbers ``errno`` are those of Mozilla's push service (autopush-rs, docs/src/errors.md), so that
libraries that know them know ours; None where it has no number for a case.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from pydantic_core import to_json
from starlette.responses import Response

from aoi_events.contracts.answers import RefusedV1
from aoi_events.errors import AoiError, ErrorCode

__all__ = ["HttpRefusal", "of_code", "push_response", "refused_response"]

MISSING_CRYPTO: Final = 101
INVALID_URL: Final = 102
EXPIRED_URL: Final = 103
TOO_LARGE: Final = 104
INVALID_SUBSCRIPTION: Final = 106
BAD_AUTHORIZATION: Final = 109
INVALID_CRYPTO: Final = 110
MISSING_HEADER: Final = 111
INVALID_TTL: Final = 112
INVALID_TOPIC: Final = 113
BACK_OFF: Final = 201
UNKNOWN: Final = 999

_JSON: Final = "application/json"


class HttpRefusal(AoiError):
    """A request that is not answered with success.

    ``status`` as the RFCs have it, ``code`` and ``field`` as over the broker, ``errno`` see above.
    ``retry_after`` in seconds. ``message`` never holds a token, a key or content.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: ErrorCode,
        message: str,
        *,
        errno: int | None = None,
        field: str | None = None,
        retry_after: int | None = None,
        challenge: str | None = None,
    ) -> None:
        super().__init__(f"{status.value} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.errno = errno
        self.field = field
        self.retry_after = retry_after
        self.challenge = challenge

    @property
    def headers(self) -> dict[str, str]:
        """The header fields that go with it."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.challenge is not None:
            headers["WWW-Authenticate"] = self.challenge
        return headers


_CODES: Final[dict[str, tuple[HTTPStatus, int | None]]] = {
    ErrorCode.MALFORMED: (HTTPStatus.BAD_REQUEST, None),
    ErrorCode.INVALID: (HTTPStatus.BAD_REQUEST, None),
    ErrorCode.VERSION_UNSUPPORTED: (HTTPStatus.BAD_REQUEST, None),
    ErrorCode.UNAUTHENTICATED: (HTTPStatus.UNAUTHORIZED, BAD_AUTHORIZATION),
    ErrorCode.NOT_ALLOWED: (HTTPStatus.FORBIDDEN, BAD_AUTHORIZATION),
    ErrorCode.TOKEN_FORGED: (HTTPStatus.NOT_FOUND, INVALID_URL),
    ErrorCode.NOT_FOUND: (HTTPStatus.NOT_FOUND, INVALID_URL),
    ErrorCode.CONFLICT: (HTTPStatus.CONFLICT, None),
    ErrorCode.CANCELLED: (HTTPStatus.CONFLICT, None),
    ErrorCode.TOKEN_REVOKED: (HTTPStatus.GONE, INVALID_SUBSCRIPTION),
    ErrorCode.EXPIRED: (HTTPStatus.GONE, EXPIRED_URL),
    ErrorCode.TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE),
    ErrorCode.QUOTA_EXCEEDED: (HTTPStatus.TOO_MANY_REQUESTS, BACK_OFF),
    ErrorCode.UNAVAILABLE: (HTTPStatus.SERVICE_UNAVAILABLE, BACK_OFF),
}


def of_code(code: str, message: str, *, field: str | None = None, wait: int = 10) -> HttpRefusal:
    """What a refusal of a worker is over HTTP; ``wait``: seconds before a repeat, where one helps.

    A code that is not for senders is a fault on our side.
    """
    status, errno = _CODES.get(code, (HTTPStatus.INTERNAL_SERVER_ERROR, UNKNOWN))
    again = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        code, message = ErrorCode.INTERNAL, "a fault on our side"
    return HttpRefusal(
        status,
        ErrorCode(code),
        message,
        errno=errno,
        field=field,
        retry_after=wait if again else None,
    )


def push_response(refusal: HttpRefusal) -> Response:
    """As Web Push senders know it: ``{code, errno, error, message}``."""
    body = {
        "code": refusal.status.value,
        "errno": refusal.errno,
        "error": refusal.status.phrase,
        "message": refusal.message,
    }
    return Response(to_json(body), refusal.status, refusal.headers, _JSON)


def refused_response(refusal: HttpRefusal) -> Response:
    """As over the broker: the contract ``refused.v1``."""
    body = RefusedV1(code=refusal.code, message=refusal.message, field=refusal.field)
    return Response(body.encode(), refusal.status, refusal.headers, _JSON)
