"""The work of ``aoi send``: publish the request, wait for the outcome, print it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from aoi_events.broker.open import open_broker
from aoi_events.cli.output import console, fail, plain, print_json
from aoi_events.contracts.answers import NotificationAcceptedV1, NotificationStatusV1
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.errors import EndedOtherwise, WaitTimeout
from aoi_events.platform.retry import RetryPolicy
from aoi_events.publishing import Publisher

_FOR_A_PERSON: Final = RetryPolicy(first=0.2, most=1.0, jitter=0.0, attempts=4)
"""A person waits: try for about two seconds, then report what is wrong."""


@dataclass(frozen=True, slots=True)
class _Sent:
    accepted: NotificationAcceptedV1
    reached: NotificationStatusV1 | None = None
    missed: EndedOtherwise | WaitTimeout | None = None


def send_notification(
    url: str, request: SendNotificationV1, *, wait: str | None, timeout: float, json: bool
) -> None:
    """Publish the request, wait for what was asked, and print the outcome."""
    sent = asyncio.run(_send(url, request, wait, timeout))
    if json:
        answer = {"accepted": sent.accepted.model_dump(mode="json")}
        if sent.reached is not None:
            answer["status"] = sent.reached.model_dump(mode="json")
        print_json(answer)
    else:
        _print(sent)
    if sent.accepted.rejected:
        fail(f"{len(sent.accepted.rejected)} of {len(request.tokens)} tokens were rejected")
    if sent.missed is not None:
        fail(str(sent.missed))


async def _send(url: str, request: SendNotificationV1, wait: str | None, timeout: float) -> _Sent:
    broker = await open_broker(url, name="aoi send", retry_policy=_FOR_A_PERSON)
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
