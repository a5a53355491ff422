"""``aoi send``: publish one notification, as any backend would."""

from __future__ import annotations

import sys
from typing import Annotated, Final, Literal

import typer

from aoi_events.cli.output import Json, fail, option_of
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.platform.exit_codes import ExitCode

_OPTIONS: Final = {"tokens": "TOKEN", "notification": "--id"}
"""Fields of the request that have another name here."""


Awaited = Literal["delivered", "stored", "failed", "expired", "replaced", "cancelled", "terminal"]
"""One state of all deliveries, or any final state."""


def send(
    tokens: Annotated[
        list[str],
        typer.Argument(metavar="TOKEN", help="Application Client Tokens, at most 1,000"),
    ],
    content: Annotated[
        str,
        typer.Option(
            "--content", "-c", metavar="TEXT", help="the content; - reads it from standard input"
        ),
    ],
    notification: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="your ID for it: sending again with the same ID is no second notification; "
            "default: a new one",
        ),
    ] = None,
    ttl: Annotated[
        int,
        typer.Option(metavar="SECONDS", help="time to live; 0: deliver now or never"),
    ] = 86_400,
    urgency: Annotated[
        Urgency, typer.Option(help="how much it matters to the user")
    ] = Urgency.NORMAL,
    topic: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC",
            help="replace your earlier notification with this topic where it is not delivered yet",
        ),
    ] = None,
    content_type: Annotated[
        str | None,
        typer.Option(
            "--type", metavar="TYPE", help="media type; default: text or octets, as the content is"
        ),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(help="how a device's channels are used; default: as the operator chose"),
    ] = None,
    hedge_after: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="head start of each channel before the next, in mode hedged"
        ),
    ] = None,
    wait: Annotated[
        Awaited | None,
        typer.Option(help="wait until every delivery is in this state; terminal: in a final one"),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, max=86_400, metavar="SECONDS", help="how long to wait for answers"),
    ] = 10.0,
    json: Json = False,
) -> None:
    """Send a notification; exits 0 when each token was accepted and reached the awaited state.

    AOI_BROKER is the URL of your broker user, which the server takes for the sender.
    """
    from aoi_events.bootstrap.settings import load_settings
    from aoi_events.cli.sending import send_notification
    from aoi_events.errors import ConfigurationError, RequestRefused
    from aoi_events.publishing import send_request

    if hedge_after is not None and mode is not Mode.HEDGED:
        fail("--hedge-after needs --mode hedged; give both or neither", code=ExitCode.USAGE)
    settings = load_settings()
    if settings.in_process:
        raise ConfigurationError(
            "AOI_BROKER is memory://, which no other process can reach; set it to the amqp:// URL "
            "of your broker user"
        )
    try:
        request = send_request(
            tokens,
            _standard_input() if content == "-" else content,
            notification=notification,
            ttl=ttl,
            urgency=urgency,
            topic=topic,
            content_type=content_type,
            mode=mode,
            hedge_after=hedge_after,
        )
    except RequestRefused as refused:
        field = (refused.field or "").partition(".")[0]
        name = f"{_OPTIONS.get(field, option_of(field))}: " if field else ""
        fail(f"{name}{refused.message}")
    url = settings.broker.get_secret_value()
    send_notification(url, request, wait=wait, timeout=timeout, json=json)


def _standard_input() -> str | bytes:
    """Text where it is UTF-8, else octets; read one octet more than allowed to notice too much."""
    from aoi_events.contracts.content import MAX_CONTENT

    octets = sys.stdin.buffer.read(MAX_CONTENT + 1)
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets
