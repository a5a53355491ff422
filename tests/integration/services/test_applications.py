"""Application Clients: one app instance, one token (8.1.3 and 8.2.3)."""

from __future__ import annotations

from dataclasses import replace

from aoi_events.contracts.answers import ApplicationDeregisteredV1
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.requests import (
    AnyRequest,
    DeregisterApplicationV1,
    RegisterApplicationV1,
)
from aoi_events.contracts.states import Reason
from aoi_events.ports.broker import Inbound
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.registration.handler import RegistrationHandler
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import Device
from tests.support.system import System


async def deregister(device: Device, sequence: int) -> ApplicationDeregisteredV1:
    """``application.deregister`` of the usual app."""
    body = {"application": "org.mail", "sequence": sequence}
    answer = await device.ask("application.deregister", **body)
    assert isinstance(answer, ApplicationDeregisteredV1), answer
    return answer


async def test_repeats_give_the_same_token(system: System) -> None:
    """A repeat gives the same token, now and whenever the app starts again."""
    device = await system.client()
    tokens = {(await device.register_app()).token for _ in range(3)}
    assert len(tokens) == 1
    assert None not in tokens


async def test_instances_have_tokens_of_their_own(system: System) -> None:
    """8.1.4: a token names one app instance on one client."""
    one, two = await system.client(), await system.client()
    tokens = {
        (await device.register_app(app, instance=instance)).token
        for device in (one, two)
        for app in ("a", "b")
        for instance in ("default", "work")
    }
    assert len(tokens) == 8


@BOTH
async def test_a_token_ends_with_its_registration(system: System) -> None:
    """A deregistered token is rejected, what is open for it fails, and a later registration gets
    another token.
    """
    shop = await system.user()
    device = await system.device()
    old = device.token
    await shop.send("n1", old)
    assert (await deregister(device, 2)).applied
    await system.events.wait_for("application.revoked", reason="deregistered")
    device.sequence = 2
    new = (await device.register_app()).token
    assert new not in (None, old)
    await system.process_due()
    failed = await system.events.wait_for("notification.failed", notification="n1")
    assert failed.data.reason == Reason.DEREGISTERED  # type: ignore[union-attr]
    (rejected,) = (await shop.send("n2", old)).rejected
    assert rejected.code == "token_revoked"


@BOTH
async def test_an_app_that_registered_since_keeps_its_token(system: System) -> None:
    """*no such app* revokes the token; not one that the app registered again since, while that
    outcome was on its way: the delivery goes out anew, and the answer to that counts.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    assert (await device.register_app()).token == item.token
    await node.report(item, OutcomeKind.NO_SUCH_APPLICATION)
    await system.events.wait_for("notification.stored", notification="n1")
    await system.process_due()
    again = await node.next_delivery()
    assert (again.delivery, again.token) == (item.delivery, item.token)
    assert not (await shop.send("n2", device.token)).rejected
    await node.report(again, OutcomeKind.NO_SUCH_APPLICATION)
    await system.events.wait_for("application.revoked", client=device.client)
    await system.events.wait_for("notification.failed", notification="n1")


async def test_what_was_sent_to_an_old_token_never_reaches_the_new_one(system: System) -> None:
    """An app that registers anew at once, before anybody looked, does not get what was sent to the
    token that ended.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await shop.send("n1", device.token)
    await deregister(device, 3)
    device.sequence = 3
    await device.register_app()
    await node.connect(device)
    await system.process_due()
    await system.events.wait_for("notification.failed", notification="n1")
    assert node.items.empty()


async def test_a_stale_command_changes_nothing(system: System) -> None:
    """An older sequence is answered with the stored state and number."""
    device = await system.client()
    await device.register_app(sequence=5)
    stale = await deregister(device, 4)
    assert (stale.applied, stale.sequence) == (False, 5)
    equal = await deregister(device, 5)
    assert (equal.applied, equal.sequence) == (False, 5)
    assert (await deregister(device, 6)).applied
    late = await device.register_app(sequence=5)
    assert (late.applied, late.sequence, late.token) == (False, 6, None)


async def test_a_repeated_deregistration_is_answered_the_same(system: System) -> None:
    """The same command again gets the same answer."""
    device = await system.device()
    assert await deregister(device, 2) == await deregister(device, 2)


@BOTH
async def test_a_deregistration_overtakes_its_registration(system: System) -> None:
    """Commands are compared by number also where the newer one comes first: the older registration,
    delayed, registers nothing.
    """
    device = await system.client()
    first = await deregister(device, 5)
    assert (first.applied, first.sequence) == (True, 5)
    assert await deregister(device, 5) == first
    late = await device.register_app(sequence=4)
    assert (late.applied, late.sequence, late.token) == (False, 5, None)
    assert (await device.register_app(sequence=6)).token is not None
    assert system.events.of("application.revoked") == [], "no token ended"
    await device.ask("client.deregister")
    await system.events.wait_for("client.deregistered", client=device.client)
    await system.events.wait_for("application.revoked")
    assert len(system.events.of("application.revoked")) == 1


async def test_events_never_carry_a_token(system: System) -> None:
    """Events carry fingerprints of tokens, never tokens."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    await system.events.wait_for("notification.accepted", notification="n1")
    told = "".join(event.encode().decode() for _, event in system.events.seen)
    assert device.token not in told
    assert device.secret not in told


async def test_events_end_in_who_asked(system: System) -> None:
    """The routing key of an event ends in the user who asked for what happened."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1")
    assert [key for key, _ in system.events.seen] == [
        "client.registered.devices",
        "application.registered.devices",
        "channel.activated.devices",
        "notification.accepted.shop",
        "notification.delivered.shop",
    ]


async def test_a_client_has_so_many_apps(open_system: OpenSystem) -> None:
    """Quotas bound what one client can make us keep; those that it has go on, and the end of one
    makes room.
    """
    system = await open_system(policy={"applications_per_client": 2})
    device = await system.device(apps=["a.one", "a.two"])
    refused = await device.refused("application.register", application="a.three", sequence=9)
    assert refused.code == "quota_exceeded"
    assert (await device.register_app("a.two")).applied
    await device.ask("application.deregister", application="a.two", sequence=20)
    device.sequence = 30
    assert (await device.register_app("a.three")).token is not None
    refused = await device.refused("application.register", application="a.two", sequence=40)
    assert refused.code == "quota_exceeded"


async def test_an_end_makes_room_within_its_batch(open_system: OpenSystem) -> None:
    """Requests that are handled together see each other: the end of one app instance makes room for
    the next, and that for none beside it.
    """
    system = await open_system(policy={"applications_per_client": 1})
    device = await system.device(apps=["a.one"])
    about = {"version": 1, "client": device.client, "secret": device.secret}
    requests: list[AnyRequest] = [
        DeregisterApplicationV1.model_validate(about | {"application": "a.one", "sequence": 8}),
        RegisterApplicationV1.model_validate(about | {"application": "a.two", "sequence": 9}),
        RegisterApplicationV1.model_validate(about | {"application": "a.three", "sequence": 9}),
    ]
    found = system.installation
    handler = RegistrationHandler(found.store, found.services, system.clock)
    message = Inbound(b"", "", reply_to="replies", user_id="devices")
    outputs = await handler.handle(
        [IncomingRequest(each, "devices", None, message) for each in requests]
    )
    assert [out.type for out in outputs if out.routing_key == "replies"] == [
        "application.deregistered.v1",
        "application.registered.v1",
        "refused.v1",
    ]


@BOTH
async def test_names_that_change_all_the_time_fill_nothing(open_system: OpenSystem) -> None:
    """Of the app instances that ended as many are remembered as there may be at a time, and no
    token that ended is ever given again.
    """
    system = await open_system(policy={"applications_per_client": 2})
    device = await system.client()
    tokens = []
    for name in ("a", "b", "c", "d", "a", "b"):
        tokens.append((await device.register_app(name)).token)
        await device.ask("application.deregister", application=name, sequence=device.next())
        system.clock.advance(3_600)
    assert len(set(tokens)) == 6
    async with system.installation.store.transaction(read_only=True) as tx:
        assert len(await tx.applications_of({device.client})) == 2
    shop = await system.user()
    (rejected,) = (await shop.send("n1", str(tokens[0]))).rejected
    assert rejected.code == "token_revoked"


async def test_a_token_of_a_key_that_this_worker_lacks_is_put_off(system: System) -> None:
    """While a new token key is rolled out, a worker without it answers that the app should ask
    again, and goes on with its other work.
    """
    device = await system.device()
    accepted = await (await system.user()).send("n1", device.token)
    async with system.installation.store.transaction() as tx:
        (app,) = await tx.applications_of({device.client})
        await tx.save_applications([replace(app, key_id="k2")])
    content = await device.refused("notification.fetch", delivery=accepted.deliveries[0].delivery)
    assert (content.code, "k2" in content.message) == ("unavailable", True)
    late = await device.refused(
        "application.register", application="org.mail", sequence=device.next()
    )
    assert late.code == "unavailable"
    assert "k2" in late.message
    assert (await device.register_app("org.other")).token is not None
