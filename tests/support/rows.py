"""Records for tests of the store, with only what a test says being special."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from aoi_events.contracts.content import Content
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.clients.applications import Application
from aoi_events.domain.clients.channels import Channel, ChannelState, Proof, ProofState
from aoi_events.domain.clients.client import Client
from aoi_events.domain.delivery.state import Delivery, StepState
from aoi_events.domain.notifications import Notification
from aoi_events.domain.parked import ParkedMessage
from aoi_events.domain.planning.plans import Step
from aoi_events.ports.store import ProviderMessage, Submission, Transaction
from tests.support.instant import INSTANT

NOW: Final = INSTANT + timedelta(microseconds=123_456)
SENDER: Final = "news"

_LETTERS: Final = str.maketrans("0123456789", "abcdefghij")


def later(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def client_id(n: int) -> str:
    """An AOI Client ID; in the order of ``n``."""
    return "cli_" + f"{n:026}".translate(_LETTERS)


def delivery_id(n: int) -> str:
    """A delivery ID; in the order of ``n``."""
    return "dlv_" + f"{n:026}".translate(_LETTERS)


def a_client(n: int = 1, **changes: Any) -> Client:
    """A client as it stands after its registration."""
    return replace(
        Client(
            id=client_id(n),
            secret_hash=hashlib.sha256(str(n).encode()).hexdigest(),
            device=f"device {n}",
            identity=f"tel:+49{n}",
            registered_at=NOW,
            seen_at=NOW,
        ),
        **changes,
    )


def an_application(client: int = 1, name: str = "com.example.news", **changes: Any) -> Application:
    """A registered app instance."""
    return replace(
        Application(
            client=client_id(client),
            application=name,
            instance="default",
            generation=1,
            key_id="k1",
            sequence=1,
            registered=True,
            fingerprint="fp_aaaaaaaaaaaaa",
            registered_at=NOW,
        ),
        **changes,
    )


def a_channel(client: int = 1, type: str = "sms", rank: int = 0, **changes: Any) -> Channel:
    """An active channel."""
    return replace(Channel(client_id(client), type, ChannelState.ACTIVE, rank), **changes)


def a_proof(client: int = 1, address: str = "+491", **changes: Any) -> Proof:
    """An open proof of a number."""
    return replace(
        Proof(
            client=client_id(client),
            channel="sms",
            address=address,
            state=ProofState.OPEN,
            sent=1,
            wrong=0,
            opened_at=NOW,
            deadline=later(120),
        ),
        **changes,
    )


def a_notification(id: str = "n1", **changes: Any) -> Notification:  # noqa: A002 - the field's name
    """An accepted notification for one token."""
    return replace(
        Notification(
            sender=SENDER,
            id=id,
            body_hash="00" * 32,
            accepted_at=NOW,
            expires_at=later(3600),
            content=Content.of("hello"),
            ttl=3600,
            deliveries=((0, delivery_id(1)),),
        ),
        **changes,
    )


def a_delivery(n: int = 1, client: int = 1, **changes: Any) -> Delivery:
    """A stored delivery."""
    return replace(
        Delivery(
            id=delivery_id(n),
            sender=SENDER,
            notification="n1",
            client=client_id(client),
            application="com.example.news",
            instance="default",
            fingerprint="fp_aaaaaaaaaaaaa",
            accepted_at=NOW,
            expires_at=later(3600),
            deadline=later(3600),
        ),
        **changes,
    )


def under_way(delivery: Delivery) -> Delivery:
    """The delivery with an attempt that may still be acknowledged."""
    attempt = StepState(
        Step("websocket", 0.0, 10.0, connected=True),
        attempt=1,
        first_started_at=NOW,
        started_at=NOW,
    )
    return replace(
        delivery,
        state=DeliveryState.SENDING,
        steps=(attempt,),
        attempts=1,
        planned_at=NOW,
        released=False,
        deadline=later(10),
    )


def settled(delivery: Delivery, at: datetime = NOW) -> Delivery:
    """The delivery after the device acknowledged it, with nothing left to do."""
    return replace(
        delivery,
        state=DeliveryState.DELIVERED,
        settled_at=at,
        released=False,
        published=True,
        deadline=None,
    )


def stored(delivery: Delivery) -> Delivery:
    """The delivery after its attempt failed."""
    return replace(delivery, state=DeliveryState.STORED, steps=(), released=False)


def a_submission(n: int = 1, **changes: Any) -> Submission:
    """A submission that the provider has not answered."""
    return replace(
        Submission(delivery=delivery_id(n), step=0, attempt=1, at=NOW),
        **changes,
    )


def a_provider_message(
    n: int = 1, part: int = 1, parts: int = 1, **changes: Any
) -> ProviderMessage:
    """What the provider calls a part of `a_submission`."""
    return replace(
        ProviderMessage(
            delivery=delivery_id(n),
            step=0,
            attempt=1,
            part=part,
            parts=parts,
            provider="smsc",
            message=f"m{n}.{part}",
            client=client_id(1),
            at=NOW,
        ),
        **changes,
    )


def a_parked(n: int = 1, **changes: Any) -> ParkedMessage:
    """A parked message."""
    return replace(
        ParkedMessage(
            id=f"p{n:03}",
            parked_at=later(n),
            queue="aoi.notification",
            routing_key="notification.send",
            exchange="aoi.requests",
            sender=SENDER,
            code="malformed",
            reason="not JSON",
            body=b"\x00\xff{",
            replayable=True,
        ),
        **changes,
    )


async def fill(
    transaction: Transaction, clients: Iterable[int] = (1,), deliveries: Iterable[Delivery] = ()
) -> None:
    """Save plain clients and these deliveries, in this order."""
    await transaction.save_clients([a_client(n) for n in clients])
    await transaction.add_deliveries(list(deliveries))
