"""The OpenAPI 3.1 document of the endpoint, generated from the contracts.

``openapi.json`` in this folder is its committed copy; a test checks that it is current. Renew it:
``aoi contracts --openapi > aoi_events/endpoint/openapi.json``.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from aoi_events.contracts.answers import (
    AllRejectedV1,
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
    RefusedV1,
)
from aoi_events.contracts.content import MAX_CONTENT
from aoi_events.contracts.requests import SendNotificationV1

OPENAPI_PATH: Final = "/openapi.json"

_SCHEMAS: Final = "#/components/schemas/{model}"
_MODELS: Final = (
    SendNotificationV1,
    NotificationAcceptedV1,
    NotificationStatusV1,
    NotificationCancelledV1,
    RefusedV1,
    AllRejectedV1,
)
_Object = dict[str, Any]


def openapi(origin: str = "http://localhost:8092") -> _Object:
    """The document of an endpoint at ``origin``."""
    _, made = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template=_SCHEMAS
    )
    schemas: _Object = made["$defs"]
    posted = deepcopy(schemas.pop(SendNotificationV1.__name__))
    # Over HTTP the path names the version, and the endpoint makes an ID where there is none.
    posted["required"] = [n for n in posted["required"] if n not in ("version", "notification")]
    posted["title"] = "PostedNotification"
    schemas |= {"PostedNotification": posted, "PushError": _push_error()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aoi-events endpoint",
            "version": "1",
            "description": "Where Application Servers send: Web Push, and a JSON API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": origin}],
        "paths": {
            "/wpush/v1/{token}": {"post": _push()},
            "/message/{message}": {"delete": _withdraw_message()},
            "/v1/notifications": {"post": _send()},
            "/v1/notifications/{notification}": {"get": _status(), "delete": _cancel()},
            OPENAPI_PATH: {"get": _describe()},
        },
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "api_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key that the operator gave out.",
                },
            },
        },
    }


def openapi_octets(origin: str) -> bytes:
    """The document as it is served."""
    return json.dumps(openapi(origin), separators=(",", ":")).encode()


def openapi_text() -> str:
    """The document as the committed copy has it."""
    return json.dumps(openapi(), indent=2) + "\n"


# --- Web Push -------------------------------------------------------------------------------------


def _push() -> _Object:
    header = {"in": "header", "required": False}
    return {
        "operationId": "push",
        "summary": "Send a message to a subscription (RFC 8030, section 5)",
        "description": (
            "VAPID credentials (RFC 8292) go into Authorization: `vapid t=…, k=…`; they are needed "
            "for subscriptions that were made with a key. The content is encrypted for the device "
            "(RFC 8291, or the draft before it), and may be empty."
        ),
        "parameters": [
            _path("token", "what the subscription's URL ends in", {"type": "string"}),
            {
                "name": "TTL",
                "in": "header",
                "required": True,
                "description": "seconds, at most four weeks; the answer names the TTL in force",
                "schema": {"type": "string", "pattern": "^[0-9]{1,20}$"},
            },
            {
                **header,
                "name": "Urgency",
                "schema": {"type": "string", "enum": ["very-low", "low", "normal", "high"]},
            },
            {
                **header,
                "name": "Topic",
                "description": "replaces the undelivered message of that topic",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"},
            },
            {
                **header,
                "name": "Content-Encoding",
                "description": "needed where there is content",
                "schema": {"type": "string", "enum": ["aes128gcm", "aesgcm"]},
            },
            *(
                {**header, "name": name, "description": text, "schema": {"type": "string"}}
                for name, text in (
                    ("Encryption", "`salt=…`, with aesgcm"),
                    ("Crypto-Key", "`dh=…`, with aesgcm; and `p256ecdsa=…`, the draft's VAPID"),
                )
            ),
        ],
        "requestBody": {
            "required": False,
            "description": f"at most {MAX_CONTENT} octets",
            "content": {"application/octet-stream": {"schema": {"maxLength": MAX_CONTENT}}},
        },
        "responses": {
            "201": {
                "description": "Accepted: the workers have committed it",
                "headers": {
                    "Location": _response_header("the message, for withdrawing it", "string"),
                    "TTL": _response_header("seconds for which the message is stored", "integer"),
                },
            },
            **_push_errors(400, 401, 403, 404, 408, 410, 413, 429, 500, 503),
        },
    }


def _withdraw_message() -> _Object:
    return {
        "operationId": "withdrawMessage",
        "summary": "Withdraw an undelivered message",
        "parameters": [_path("message", "what its Location ends in", {"type": "string"})],
        "responses": {
            "204": {"description": "It will not be delivered"},
            **_push_errors(404, 410, 429, 500, 503),
        },
    }


def _push_error() -> _Object:
    return {
        "title": "PushError",
        "description": "The reason; errno is the number that Mozilla's push service has for it.",
        "type": "object",
        "properties": {
            "code": {"type": "integer"},
            "errno": {"type": ["integer", "null"]},
            "error": {"type": "string"},
            "message": {"type": "string"},
        },
        "required": ["code", "errno", "error", "message"],
    }


# --- the JSON API ---------------------------------------------------------------------------------


def _send() -> _Object:
    return {
        "operationId": "send",
        "summary": "Have one content delivered to up to 1,000 Application Client Tokens",
        "description": (
            "The same as `notification.send` over the broker. Repeating a request with its "
            "`notification` is harmless; without one, an ID is made."
        ),
        "security": [{"api_key": []}],
        "requestBody": {"required": True, "content": _json("PostedNotification")},
        "responses": {
            "202": {
                "description": "Which tokens were accepted, and which were rejected and why",
                "content": _json("NotificationAcceptedV1"),
            },
            **_api_errors(400, 401, 408, 409, 413, 415, 429, 500, 503),
            "422": _error(422, "AllRejectedV1"),
        },
    }


def _status() -> _Object:
    return _of_one("status", "The state of each delivery", "NotificationStatusV1")


def _cancel() -> _Object:
    return _of_one("cancel", "Withdraw deliveries that have not ended", "NotificationCancelledV1")


def _of_one(operation: str, summary: str, answer: str) -> _Object:
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{"api_key": []}],
        "parameters": [_path("notification", "your ID, or ours", {"type": "string"})],
        "responses": {
            "200": {"description": summary, "content": _json(answer)},
            **_api_errors(401, 404, 429, 500, 503),
        },
    }


def _describe() -> _Object:
    return {
        "operationId": "describe",
        "summary": "This document",
        "responses": {
            "200": {
                "description": "OpenAPI 3.1",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_push_errors(429),
        },
    }


# --- parts ----------------------------------------------------------------------------------------

_DESCRIPTIONS: Final = {
    400: "A header field or the body is invalid",
    401: "Credentials are needed",
    403: "The credentials are not valid, or not those that this subscription was made for",
    404: "It does not exist",
    408: "The body did not come in time",
    409: "This ID was used before with another body, or was withdrawn",
    410: "It existed, and exists no longer",
    413: "The body is too large",
    415: "The body has a Content-Encoding; send the JSON as it is",
    422: "Every token was rejected; nothing is stored, and the ID can be used again",
    429: "Too many requests",
    500: "A fault of the server",
    503: "The server cannot answer now",
}


def _push_errors(*statuses: int) -> _Object:
    return {str(status): _error(status, "PushError") for status in statuses}


def _api_errors(*statuses: int) -> _Object:
    return {str(status): _error(status, "RefusedV1") for status in statuses}


def _error(status: int, schema: str) -> _Object:
    response: _Object = {"description": _DESCRIPTIONS[status], "content": _json(schema)}
    if status in (429, 503):
        again = _response_header("seconds after which to try again", "integer")
        response["headers"] = {"Retry-After": again}
    return response


def _response_header(text: str, kind: str) -> _Object:
    return {"description": text, "required": True, "schema": {"type": kind}}


def _path(name: str, text: str, schema: _Object) -> _Object:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _json(schema: str) -> _Object:
    return {"application/json": {"schema": {"$ref": _SCHEMAS.format(model=schema)}}}
