"""``aoi send``: publish one notification, as any backend would."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from aoi_events.bootstrap import load_settings
from aoi_events.cli.output import console, fail, print_json
from aoi_events.contracts.answers import NotificationAcceptedV1, NotificationStatusV1
from aoi_events.contracts.identifiers import Urgency
from aoi_events.errors import ConfigurationError
from aoi_events.publishing import Publisher

__all__ = ["send"]


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
    content_type: Annotated[str, typer.Option("--type", help="media type")] = "text/plain",
    wait: Annotated[
        str | None, typer.Option(help="wait for a state: delivered, terminal, …")
    ] = None,
    timeout: Annotated[float, typer.Option(help="seconds to wait, for each answer")] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Send a notification; exits 0 when every token was accepted (and the state reached)."""
    settings = load_settings()
    if settings.in_process:
        raise ConfigurationError(
            "AOI_BROKER is memory://, which no other process can reach; set it to the amqp:// URL "
            "of your broker user"
        )
    body = sys.stdin.read() if content == "-" else content

    async def run() -> tuple[NotificationAcceptedV1, NotificationStatusV1 | None]:
        url = settings.broker.get_secret_value()
        async with Publisher(url, timeout=timeout) as publisher:
            accepted = await publisher.send(
                tokens,
                body,
                notification=notification,
                ttl=ttl,
                urgency=urgency,
                content_type=content_type,
            )
            reached = None
            if wait is not None and accepted.deliveries:
                reached = await publisher.wait(accepted.notification, wait, timeout=timeout)
            return accepted, reached

    accepted, reached = asyncio.run(run())
    if json:
        answer = {"accepted": accepted.model_dump(mode="json")}
        if reached is not None:
            answer["status"] = reached.model_dump(mode="json")
        print_json(answer)
    else:
        console.print(f"[bold]{accepted.notification}[/]: {len(accepted.deliveries)} accepted")
        for delivery in accepted.deliveries:
            console.print(f"  [green]✓[/] {delivery.delivery}")
        for rejected in accepted.rejected:
            console.print(
                f"  [red]✗[/] token {rejected.index + 1} ({rejected.fingerprint}): "
                f"{rejected.code}: {rejected.message}"
            )
        for status in reached.deliveries if reached is not None else ():
            console.print(f"  {status.delivery} is [bold]{status.state}[/]")
    if accepted.rejected:
        fail(f"{len(accepted.rejected)} of {len(tokens)} tokens were rejected")
