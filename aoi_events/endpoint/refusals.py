"""Refusals over HTTP, and their responses for Web Push and for the JSON API.

The numbers ``errno`` are those of Mozilla's push service (autopush-rs, docs/src/errors.md), which
client libraries know; None where it has no number for a case.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from pydantic_core import to_json

from aoi_events.contracts.answers import AllRejectedV1, NotificationAcceptedV1, RefusedV1
from aoi_events.endpoint.responses import Response, json_response
from aoi_events.errors import AoiError, ErrorCode

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


class HttpRefusal(AoiError):
    """A request failed: an error that becomes the HTTP response.

    ``status`` is that of the RFCs, ``code`` and ``field`` are those of a refusal over the broker,
    ``errno`` see above; ``retry_after`` in seconds. ``message`` never contains a token, a key or
    content.
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
        """The header fields of the response."""
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
    """The HTTP refusal for a code; ``wait``: seconds before a repeat, if a repeat can succeed.

    A code that is not for senders becomes an internal error.
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


def head_too_large() -> HttpRefusal:
    """The refusal of a request whose head exceeds a limit (RFC 6585, section 5)."""
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return HttpRefusal(status, ErrorCode.TOO_LARGE, "the head of the request is too large")


def push_response(refusal: HttpRefusal) -> Response:
    """The response for Web Push senders: ``{code, errno, error, message}``."""
    body = {
        "code": refusal.status.value,
        "errno": refusal.errno,
        "error": refusal.status.phrase,
        "message": refusal.message,
    }
    return json_response(to_json(body), refusal.status, refusal.headers)


def api_response(refusal: HttpRefusal) -> Response:
    """The response for the JSON API: the contract ``refused.v1``, as over the broker."""
    body = RefusedV1(code=refusal.code, message=refusal.message, field=refusal.field)
    return json_response(body.encode(), refusal.status, refusal.headers)


def all_rejected_response(answer: NotificationAcceptedV1) -> Response:
    """The response for the JSON API when every token of a notification was rejected.

    503 if some of them cannot be judged yet, so that a repeat may be accepted; else 422.
    """
    if any(each.code == ErrorCode.UNAVAILABLE for each in answer.rejected):
        message = "no token was accepted, and some may be later; `rejected` says which"
        refusal = of_code(ErrorCode.UNAVAILABLE, message, field="tokens")
    else:
        refusal = HttpRefusal(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            ErrorCode.INVALID,
            "every token was rejected; `rejected` says why",
            field="tokens",
        )
    body = AllRejectedV1(
        code=refusal.code,
        message=refusal.message,
        field=refusal.field,
        notification=answer.notification,
        rejected=answer.rejected,
    )
    return json_response(body.encode(), refusal.status, refusal.headers)
