"""``aoi send``: publish one notification, as any backend would."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import typer
from rich.text import Text

from aoi_events.bootstrap.settings import load_settings
from aoi_events.broker.open import open_broker
from aoi_events.cli.output import console, fail, plain, print_json
from aoi_events.contracts.answers import NotificationAcceptedV1, NotificationStatusV1
from aoi_events.contracts.content import MAX_CONTENT
from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.errors import ConfigurationError, EndedOtherwise, WaitTimeout
from aoi_events.platform.retry import Patience
from aoi_events.publishing import Publisher, send_request

__all__ = ["send"]

_FOR_A_PERSON: Final = Patience(first=0.2, most=1.0, jitter=0.0, attempts=4)
"""Somebody sits before it: about two seconds, then say what is wrong."""


class Awaited(StrEnum):
    """What one can wait for: a delivery's state, or any end."""

    DELIVERED = "delivered"
    STORED = "stored"
    FAILED = "failed"
    EXPIRED = "expired"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class _Sent:
    accepted: NotificationAcceptedV1
    reached: NotificationStatusV1 | None = None
    missed: EndedOtherwise | WaitTimeout | None = None


def send(
    tokens: Annotated[list[str], typer.Argument(help="Application Client Tokens, up to 1,000")],
    content: Annotated[
        str, typer.Option("--content", "-c", help="the content; - reads standard input")
    ],
    notification: Annotated[
        str | None, typer.Option("--id", help="your ID of it; repeats with it are harmless")
    ] = None,
    ttl: Annotated[int, typer.Option(help="seconds to try; 0 is now or never")] = 86_400,
    urgency: Annotated[Urgency, typer.Option(help="how much it matters")] = Urgency.NORMAL,
    topic: Annotated[
        str | None, typer.Option(help="replaces what waits for these tokens under the same topic")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option("--type", help="media type; default: by what the content is")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option(help="how channels follow each other; default: the operator's")
    ] = None,
    hedge_after: Annotated[
        float | None, typer.Option(help="head start of each channel in seconds, in mode hedged")
    ] = None,
    wait: Annotated[
        Awaited | None, typer.Option(help="wait until every delivery is so; terminal: any end")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86_400, help="seconds to wait, for each answer")
    ] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Send a notification; exits 0 when each token was accepted and reached the awaited state.

    AOI_BROKER is the URL of your broker user, who is the sender.
    """
    settings = load_settings()
    if settings.in_process:
        raise ConfigurationError(
            "AOI_BROKER is memory://, which no other process can reach; set it to the amqp:// URL "
            "of your broker user"
        )
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
    sent = asyncio.run(_send(settings.broker.get_secret_value(), request, wait, timeout))
    if json:
        answer = {"accepted": sent.accepted.model_dump(mode="json")}
        if sent.reached is not None:
            answer["status"] = sent.reached.model_dump(mode="json")
        print_json(answer)
    else:
        _print(sent)
    if sent.accepted.rejected:
        fail(f"{len(sent.accepted.rejected)} of {len(tokens)} tokens were rejected")
    if sent.missed is not None:
        fail(str(sent.missed))


async def _send(
    url: str, request: SendNotificationV1, wait: Awaited | None, timeout: float
) -> _Sent:
    broker = await open_broker(url, name="aoi send", patience=_FOR_A_PERSON)
    try:
        async with Publisher(broker, timeout=timeout) as publisher:
            (sent,) = [each async for each in publisher.send_many([request])]
            accepted = sent.accepted()
            if wait is None or not accepted.deliveries:
                return _Sent(accepted)
            try:
                reached = await publisher.wait(accepted.notification, wait, timeout=timeout)
            except (EndedOtherwise, WaitTimeout) as missed:
                return _Sent(accepted, missed=missed)
            return _Sent(accepted, reached)
    finally:
        await broker.close()


def _print(sent: _Sent) -> None:
    accepted = sent.accepted
    console.print(f"[bold]{accepted.notification}[/]: {len(accepted.deliveries)} accepted")
    for delivery in accepted.deliveries:
        console.print(f"  [green]✓[/] {delivery.delivery}")
    for rejected in accepted.rejected:
        line = f"token {rejected.index + 1} ({rejected.fingerprint}): "
        line += f"{rejected.code}: {rejected.message}"
        console.print(Text("  ✗ ", "red").append_text(plain(line, "default")), soft_wrap=True)
    for status in sent.reached.deliveries if sent.reached is not None else ():
        by = f" by {status.by}" if status.by else ""
        console.print(f"  {status.delivery} is [bold]{status.state}[/]{by}")


def _standard_input() -> str | bytes:
    """Text where it is UTF-8, else octets; one more than may be tells that it is too long."""
    octets = sys.stdin.buffer.read(MAX_CONTENT + 1)
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets
