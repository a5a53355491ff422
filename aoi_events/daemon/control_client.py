"""Asks a running daemon: what the command line does, and what an app can do from Python."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from aoi_events.contracts.apps import MAX_WAIT, AppRequest, ClientFrame, Failed, client_frames
from aoi_events.errors import ClientUnreachable, RequestRefused, UnexpectedAnswer

__all__ = ["ask"]

_WITHIN: Final = 10.0
_LARGEST: Final = 4 * 1024 * 1024
"""Octets of an answer: two hundred apps with the longest commands."""


def ask(path: Path, request: AppRequest, *, wait: float = 0.0) -> ClientFrame:
    """The daemon's answer; ``wait`` is how long the request lets it wait for the AOI Server.

    Raises ClientUnreachable, RequestRefused with the stable code, UnexpectedAnswer.
    """
    line = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_WITHIN + min(wait, MAX_WAIT))
        try:
            connection.connect(str(path))
            with suppress(BrokenPipeError):  # closed on us: it said why before
                connection.sendall(request.encode() + b"\n")
            while not line.endswith(b"\n") and len(line) <= _LARGEST:
                octets = connection.recv(65_536)
                if not octets:
                    break
                line += octets
        except TimeoutError:
            raise ClientUnreachable(f"the AOI Client at {path} does not answer") from None
        except OSError as error:
            raise ClientUnreachable(
                f"no AOI Client answers at {path} ({error.strerror}): is `aoi client run` running? "
                "AOI_CLIENT__SOCKET says where it listens"
            ) from None
    try:
        answer = client_frames.validate_json(bytes(line))
    except ValidationError:
        raise UnexpectedAnswer(f"what answers at {path} is no AOI Client of ours") from None
    if isinstance(answer, Failed):
        raise RequestRefused(answer.code, answer.message, field=answer.field)
    return answer
