"""Tokens that are bound to a sender's key (VAPID; RFC 8292, section 4)."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aoi_events.contracts.answers import NotificationAcceptedV1
from aoi_events.contracts.states import Reason
from tests.integration.services.conftest import BOTH
from tests.support.actors import User
from tests.support.system import System


def new_key() -> str:
    """The public key of a new sender."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    octets = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return urlsafe_b64encode(octets).decode().rstrip("=")


async def send(endpoint: User, sender: str, notification: str, *tokens: str) -> Any:
    """``notification.send``, in the name of a sender."""
    return await endpoint.ask(
        "notification.send",
        headers={"aoi-sender": sender},
        notification=notification,
        tokens=list(tokens),
        content={"data": "hello"},
    )


@BOTH
async def test_a_bound_token_takes_notifications_of_its_sender_only(system: System) -> None:
    """Every other sender is refused, without further information; an unbound token accepts all."""
    endpoint, shop = await system.user("aoi-endpoint"), await system.user("shop")
    key, foreign = new_key(), new_key()
    device = await system.client()
    bound = (await device.register_app("bound", sender_key=key)).token or ""
    free = (await device.register_app("free")).token or ""
    answer = await send(endpoint, f"vapid:{key}", "n1", bound, free)
    assert isinstance(answer, NotificationAcceptedV1)
    assert [accepted.index for accepted in answer.deliveries] == [0, 1]
    for sender in ("webpush", f"vapid:{foreign}", "key:shop"):
        answer = await send(endpoint, sender, "n1", bound, free)
        assert isinstance(answer, NotificationAcceptedV1), answer
        assert [(each.index, each.code) for each in answer.rejected] == [(0, "not_allowed")]
        assert len(answer.deliveries) == 1
    plain = await shop.send("n1", bound)
    assert [each.code for each in plain.rejected] == ["not_allowed"]


async def test_senders_of_one_endpoint_have_ids_of_their_own(system: System) -> None:
    """IDs stay scoped by sender: two senders behind one broker user never meet."""
    endpoint = await system.user("aoi-endpoint")
    device = await system.device()
    one, two = f"vapid:{new_key()}", "key:shop"
    for sender in (one, two):
        assert (await send(endpoint, sender, "n1", device.token)).deliveries
    rows = [await system.rows("n1", sender=sender) for sender in (one, two)]
    assert [len(found) for found in rows] == [1, 1]
    asked = await endpoint.ask(
        "notification.cancel", headers={"aoi-sender": one}, notification="n1"
    )
    assert asked.cancelled == 1  # type: ignore[union-attr]
    assert [row.state for row in await system.rows("n1", sender=two)] == ["stored"]


@BOTH
async def test_another_key_is_another_subscription(system: System) -> None:
    """The same key gives the same token; another one ends it, with what is open for it, and the
    new token is another one. Repeating the command changes nothing.
    """
    endpoint = await system.user("aoi-endpoint")
    key, other = new_key(), new_key()
    device = await system.client()
    old = (await device.register_app(sender_key=key)).token or ""
    assert (await device.register_app(sender_key=key)).token == old
    await send(endpoint, f"vapid:{key}", "n1", old)
    new = (await device.register_app(sender_key=other)).token or ""
    assert new != old
    again = await device.register_app(sender_key=other, sequence=device.sequence)
    assert (again.token, again.applied) == (new, True)
    await system.events.wait_for("application.revoked", reason=Reason.DEREGISTERED)
    await system.process_due()
    failed = await system.events.wait_for("notification.failed", notification="n1")
    assert failed.data.reason == Reason.DEREGISTERED  # type: ignore[union-attr]
    for token, code in ((old, "token_revoked"), (new, "not_allowed")):
        answer = await send(endpoint, f"vapid:{key}", f"to-{code}", token)
        assert [each.code for each in answer.rejected] == [code]
    assert (await send(endpoint, f"vapid:{other}", "n2", new)).deliveries


async def test_a_key_that_is_no_point_is_refused(system: System) -> None:
    """65 octets are not enough: a key that is not a point of the curve is refused."""
    device = await system.client()
    refused = await device.refused(
        "application.register", application="a", sequence=1, sender_key="BA" + "A" * 85
    )
    assert (refused.code, refused.field) == ("invalid", "sender_key")
    short = await device.refused(
        "application.register", application="a", sequence=1, sender_key="BAAA"
    )
    assert (short.code, short.field) == ("invalid", "sender_key")
