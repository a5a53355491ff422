"""Notifications as signed HTTP requests, through every worker."""

from __future__ import annotations

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from aoi_events import Publisher
from aoi_events.contracts.events import ChannelChanged, DeliveryChanged
from aoi_events.contracts.push import PushedChallenge, PushedNotification, push_frames
from aoi_events.contracts.states import CloseReason
from aoi_events.testing import AoiServer, WaitFor
from tests.integration.http.amqp_device import AmqpDevice
from tests.integration.http.conftest import BOTH, MakeDevice
from tests.support.receivers import Got, Receiver, Reply, Subscription


def challenge_in(got: Got, secret: str) -> str:
    """Verify the signature of a challenge, and return its code."""
    frame = push_frames.validate_json(got.body)
    Webhook(secret).verify(got.body, dict(got.headers))
    assert isinstance(frame, PushedChallenge)
    assert (frame.channel, got.headers["webhook-id"][:4]) == ("webhook", "chl_")
    return frame.code


async def proved(device: AmqpDevice, receiver: Receiver, path: str = "/hook") -> str:
    """Activate and confirm the webhook; return its secret."""
    number = len(receiver.got)
    pending = await device.selected("webhook", {"url": receiver.url(path)})
    assert pending.state == "pending"
    secret = str(pending.parameters["secret"])
    active = await device.confirm("webhook", challenge_in(await receiver.next(number), secret))
    assert active.state == "active"
    assert active.parameters == pending.parameters
    return secret


@BOTH
async def test_a_notification_arrives_signed(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
) -> None:
    """The URL is proved by a challenge, the notification arrives with a signature that Standard
    Webhooks' library verifies with the secret that only the device was told, and no other; taken
    by the receiver, it counts as delivered by the provider when nothing else comes.
    """
    phone = await make_device()
    secret = await proved(phone, receiver)
    accepted = await shop.send(phone.token, "Gate B7", notification="n1", urgency="high")
    got = await receiver.next(1)
    assert got.path == "/hook"
    assert Webhook(secret).verify(got.body, dict(got.headers))["content"]["data"] == "Gate B7"
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 43 + "=").verify(got.body, dict(got.headers))
    frame = push_frames.validate_json(got.body)
    assert isinstance(frame, PushedNotification)
    assert frame.delivery == accepted.deliveries[0].delivery == got.headers["webhook-id"]
    assert (frame.application, frame.instance, frame.notification) == ("org.mail", "default", "n1")
    assert phone.token not in got.body.decode()
    server.advance(6)
    settled = await wait_for("notification.delivered", notification="n1")
    assert isinstance(settled.data, DeliveryChanged)
    assert settled.data.by == "provider"


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_a_receiver_that_is_not_ready_is_challenged_again(
    server: AoiServer, receiver: Receiver, make_device: MakeDevice, status: int
) -> None:
    """The challenge may overtake the answer with the secret, or the deployment of the receiver:
    neither a 401 to it nor a 404 ends the offer.
    """
    receiver.script(Reply(status))
    phone = await make_device()
    pending = await phone.selected("webhook", {"url": receiver.url()})
    await receiver.next(0)
    server.advance(121)
    code = challenge_in(await receiver.next(1), str(pending.parameters["secret"]))
    assert (await phone.confirm("webhook", code)).state == "active"


async def test_a_receiver_that_is_gone_ends_the_offer(
    receiver: Receiver, make_device: MakeDevice, wait_for: WaitFor
) -> None:
    """A URL that answers 410 to its challenge closes the channel, with the status in the reason."""
    receiver.script(Reply(410))
    phone = await make_device()
    await phone.selected("webhook", {"url": receiver.url()})
    closed = await wait_for("channel.closed", client=phone.client)
    assert isinstance(closed.data, ChannelChanged)
    assert closed.data.reason == CloseReason.CHALLENGE_REFUSED
    assert "410" in (closed.data.detail or "")


async def test_one_url_has_a_secret_for_each_client(
    receiver: Receiver, make_device: MakeDevice, wait_for: WaitFor
) -> None:
    """Whoever offers another's URL learns a secret that this one does not trust, and is not told
    the code; who proves the URL has it, and the other loses it.
    """
    owner, thief = await make_device("owner"), await make_device("thief")
    secret = await proved(owner, receiver)
    other = await thief.selected("webhook", {"url": receiver.url("/hook")})
    assert other.state == "pending"
    assert other.parameters["secret"] != secret
    got = await receiver.next(1)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(got.body, dict(got.headers))
    code = challenge_in(got, str(other.parameters["secret"]))
    assert (await thief.confirm("webhook", code)).state == "active"
    await wait_for("channel.closed", client=owner.client)


async def test_gone_closes_the_channel(
    receiver: Receiver, shop: Publisher, make_device: MakeDevice, wait_for: WaitFor
) -> None:
    """The notification is stored, and the address is used no more."""
    phone = await make_device()
    await proved(phone, receiver)
    receiver.script(Reply(410))
    await shop.send(phone.token, "hello", notification="n1")
    await wait_for("channel.closed", client=phone.client)
    await wait_for("notification.stored", notification="n1")
    await shop.send(phone.token, "hello again", notification="n2")
    await wait_for("notification.stored", notification="n2")
    assert len(receiver.got) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
    status: int,
) -> None:
    """Not before the time that the receiver named; then once more, with the same ID."""
    phone = await make_device()
    await proved(phone, receiver)
    receiver.script(Reply(status, {"Retry-After": "600"}))
    await shop.send(phone.token, "busy", notification="n1")
    refused = await receiver.next(1)

    async def told() -> bool:
        [row] = await server.status("n1")
        return any(f"{status}" in (hop.detail or "") for hop in row.story)

    await wait_for(told)
    server.advance(590)
    await shop.send(phone.token, "marker", notification="n2")
    assert b"marker" in (await receiver.next(2)).body
    server.advance(15)
    again = await receiver.next(3)
    assert b"busy" in again.body
    assert again.headers["webhook-id"] == refused.headers["webhook-id"]


@pytest.mark.parametrize("reply", [Reply(500), Reply(408), Reply(silent=True)])
async def test_what_may_pass_is_tried_again(
    receiver: Receiver, shop: Publisher, make_device: MakeDevice, reply: Reply
) -> None:
    """Faults of the receiver, and no answer at all, cost a repeat along the schedule."""
    phone = await make_device()
    await proved(phone, receiver)
    receiver.script(reply)
    await shop.send(phone.token, "hello", notification="n1")
    first, second = await receiver.next(1), await receiver.next(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


@pytest.mark.parametrize(
    "reply",
    [
        *(Reply(status) for status in (400, 401, 403, 404, 405, 409, 413, 421, 422, 451)),
        Reply(302, {"Location": "http://127.0.0.1:1/"}),
    ],
    ids=lambda reply: str(reply.status),
)
async def test_a_refusal_that_may_pass_loses_nothing(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
    reply: Reply,
) -> None:
    """A device has nothing but the webhook, whose receiver refuses once: the same notification is
    sent again with the same ID, a redirect is not followed, and the channel stays active.
    """
    phone = await make_device()
    await proved(phone, receiver)
    receiver.script(reply)
    await shop.send(phone.token, "hello", notification="n1")
    first = await receiver.next(1)
    await wait_for.hop("n1", "unavailable")
    server.advance(3)
    second = await receiver.next(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    await wait_for.hop("n1", "accepted")


async def test_a_refusal_that_may_pass_starts_the_next_channel_at_once(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
) -> None:
    """The receiver of a webhook refuses: Web Push is next, and does not wait for a time-out."""
    keys, phone = Subscription(), await make_device()
    async with Receiver() as service:
        pending = await phone.offer_all(
            {"webhook": {"url": receiver.url()}, "webpush": keys.parameters(service.url())}
        )
        secrets = {each.type: each.parameters.get("secret") for each in pending.selected}
        code = challenge_in(await receiver.next(0), str(secrets["webhook"]))
        await phone.confirm("webhook", code)
        challenge = push_frames.validate_json(keys.read((await service.next(0)).body))
        assert isinstance(challenge, PushedChallenge)
        await phone.confirm("webpush", challenge.code)
        receiver.default = Reply(404)
        await shop.send(phone.token, "hello", notification="n1")
        await service.next(1)
        await wait_for.hop("n1", "accepted")
    [row] = await server.status("n1")
    hops = [(hop.what, hop.channel) for hop in row.story]
    assert hops[:4] == [
        ("sent", "webhook"),
        ("unavailable", "webhook"),
        ("sent", "webpush"),
        ("accepted", "webpush"),
    ]


@pytest.mark.parametrize(
    "url, says",
    [
        ("http://169.254.169.254/latest", "public address"),
        ("http://user:pw@push.example.org/", "user name"),
        ("ftp://push.example.org/", "https"),
    ],
)
async def test_a_bad_url_is_not_selected(
    receiver: Receiver, make_device: MakeDevice, url: str, says: str
) -> None:
    """The reason of a refused offer says what to offer instead."""
    answer = await (await make_device()).offer("webhook", {"url": url})
    assert answer.selected == ()
    [row] = answer.not_selected
    assert row.reason == CloseReason.OFFER_REFUSED
    assert says in (row.detail or "")
