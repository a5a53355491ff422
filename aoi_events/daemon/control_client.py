"""A client of a running daemon, for the command line and for apps in Python."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from aoi_events.contracts.apps import (
    MAX_WAIT,
    AppRequest,
    AppRequestFailed,
    ClientFrame,
    client_frames,
)
from aoi_events.daemon.json_lines import encode_line
from aoi_events.errors import ClientUnreachable, RequestRefused, UnexpectedAnswer

_WITHIN: Final = 10.0
_LARGEST: Final = 4 * 1024 * 1024
"""Octets of an answer: two hundred apps with the longest commands."""


def send_request(path: Path, request: AppRequest, *, wait: float = 0.0) -> ClientFrame:
    """Send a request and return the answer of the daemon.

    ``wait`` is how long the request lets the daemon wait for the AOI Server. Raises
    ClientUnreachable, RequestRefused with the stable code, UnexpectedAnswer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_WITHIN + min(wait, MAX_WAIT))
        try:
            connection.connect(str(path))
            with suppress(BrokenPipeError):  # it was closed after an answer that says why
                connection.sendall(encode_line(request))
            with connection.makefile("rb") as answers:
                line = answers.readline(_LARGEST)
        except TimeoutError:
            raise ClientUnreachable(f"the AOI Client at {path} does not answer") from None
        except OSError as error:
            raise ClientUnreachable(
                f"no AOI Client answers at {path} ({error.strerror or error}): is `aoi client run` "
                "running? AOI_CLIENT__SOCKET says where it listens"
            ) from None
    try:
        answer = client_frames.validate_json(line)
    except ValidationError:
        raise UnexpectedAnswer(
            f"{path}: the line is not a frame of an AOI Client; set AOI_CLIENT__SOCKET to the "
            "socket of an AOI Client"
        ) from None
    if isinstance(answer, AppRequestFailed):
        raise RequestRefused(answer.code, answer.message, field=answer.field)
    return answer
