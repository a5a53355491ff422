"""A device proves its addresses on the scripted channel."""

from __future__ import annotations

from aoi_events.contracts.answers import AnyAnswer, ChannelsActivatedV1, RefusedV1
from tests.support.actors import Device
from tests.support.system import System

DAY = 86_400


async def confirm(device: Device, code: str) -> AnyAnswer:
    """``channel.confirm`` of the scripted channel."""
    return await device.ask("channel.confirm", channel="scripted", code=code)


async def prove(system: System, device: Device, address: str) -> None:
    """Activate the channel with the address, and prove it."""
    await device.activate(f"scripted:{address}")
    challenge = await system.provider.next_challenge()
    assert state(await confirm(device, challenge.code)) == "active"


def state(answer: AnyAnswer) -> str | None:
    """The scripted channel's state in an answer; None where it is not selected."""
    assert isinstance(answer, ChannelsActivatedV1), answer
    return next((c.state for c in answer.selected if c.type == "scripted"), None)


def code_of(answer: AnyAnswer) -> str:
    """Why it was refused."""
    assert isinstance(answer, RefusedV1), answer
    return answer.code
