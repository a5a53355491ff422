"""Another user: set-identity, the setting, and what a restart makes of both (8.1.1)."""

from __future__ import annotations

from aoi_events.contracts.apps import TokenChanged
from aoi_events.testing.server import AoiServer
from aoi_events.testing.waiting import WaitFor
from tests.acceptance.daemon.machine import MAIL, Machine
from tests.support.limits import WITHIN


async def test_another_user_gets_another_registration(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor
) -> None:
    """8.1.1: a new AOI Client ID, a new token for each app, told to those that are attached; what
    is still sent to the old token reaches nobody.
    """
    daemon = await machine.start()
    app = await machine.attach()
    old_client, old_token = (await machine.status()).client, str(app.token)
    assert (await machine.cli("set-identity", "tel:+15550199")).code == 0
    token = (await app.next(TokenChanged)).token
    assert token != old_token
    await daemon.until_logged("connected", times=2, within=WITHIN)
    assert (await machine.status()).client not in (None, old_client)
    await wait_for("client.reassigned", client=old_client, within=WITHIN)
    shop = await aoi.publisher()
    accepted = await shop.send([old_token, token], "for the new user only")
    assert [each.code for each in accepted.rejected] == ["token_revoked"]
    assert await app.read() == "for the new user only"


async def test_what_was_said_last_counts(machine: Machine) -> None:
    """set-identity outlives a restart and kill -9; a setting that was changed since outranks it."""
    daemon = await machine.start()
    first = await machine.register(MAIL)
    assert (await machine.cli("set-identity", "tel:+15550199")).code == 0
    daemon.kill()
    await daemon.ended(within=WITHIN)
    daemon = await machine.start()
    second = await machine.register(MAIL)
    assert second != first
    client = (await machine.status()).client
    daemon.kill()
    await daemon.ended(within=WITHIN)
    daemon = await machine.start()
    await daemon.until_logged("connected", within=WITHIN)
    assert (await machine.status()).client == client
    assert await machine.register(MAIL) == second
    daemon.kill()
    await daemon.ended(within=WITHIN)
    daemon = await machine.start(identity="tel:+15550177")
    await daemon.until_logged("registered", within=WITHIN)
    assert (await machine.status()).client != client
