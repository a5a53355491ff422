"""Converts errors of aio-pika, aiormq and the socket to ours."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionClosed,
    ConnectionNotAllowed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from pamqp.exceptions import PAMQPException

from aoi_events.errors import BrokerUnavailable, ConfigurationError

REFUSALS = (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelLockedResource,
    ChannelPreconditionFailed,
)
"""The broker understood and will not do it: 403, 404, 405, 406."""

_NOT_ALLOWED = 530


ANSWER_WITHIN = 15.0
"""Seconds for the broker to answer: a node that has just started may never answer some calls."""


@asynccontextmanager
async def broker_faults(doing: str, *, within: float = ANSWER_WITHIN) -> AsyncIterator[None]:
    """Turn library errors, and no answer in time, into ConfigurationError and BrokerUnavailable.

    ``doing`` says what was tried, without any secret; ``within`` is in seconds. A call that is
    given up closes its channel, so that a late answer cannot be taken for another's.
    """
    try:
        async with asyncio.timeout(within):
            yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Nobody cancelled us: aiormq cancels its own calls when the connection goes.
        raise BrokerUnavailable(f"{doing}: the connection was lost") from None
    except TimeoutError as error:
        raise BrokerUnavailable(f"{doing}: no answer within {within:g} s") from error
    except REFUSALS as error:
        raise ConfigurationError(f"{doing}: the broker refused it: {_text_of(error)}") from error
    except (AuthenticationError, ProbableAuthenticationError, ConnectionNotAllowed) as error:
        raise ConfigurationError(
            f"{doing}: the broker does not let this user in ({_text_of(error)}); "
            "check user, password and virtual host of the broker's URL"
        ) from error
    except ConnectionClosed as error:
        if error.args and error.args[0] == _NOT_ALLOWED:
            raise ConfigurationError(
                f"{doing}: {_text_of(error)}; check the virtual host of the broker's URL"
            ) from error
        raise BrokerUnavailable(f"{doing}: {_text_of(error)}") from error
    except InvalidFrameError as error:
        if "Connection.OpenOk" in str(error):
            # aiormq keeps the broker's reason to itself; the login before this was accepted.
            raise ConfigurationError(
                f"{doing}: the broker does not open this virtual host for this user; "
                "check the virtual host of the broker's URL, and the user's permissions for it"
            ) from error
        raise BrokerUnavailable(f"{doing}: {_text_of(error)}") from error
    except (AMQPError, PAMQPException, ChannelInvalidStateError, OSError) as error:
        raise BrokerUnavailable(f"{doing}: {_text_of(error)}") from error


def _text_of(error: BaseException) -> str:
    # aiormq puts an error of its own around the system's, and the event loop a sentence.
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
        named = isinstance(cause, socket.gaierror)
        return str(cause.strerror) if named else os.strerror(cause.errno)
    words = [str(argument) for argument in error.args if argument not in (None, "")]
    return " ".join(words) or type(error).__name__
