"""The work of ``aoi dead replay``, the only command on parked messages that needs the broker."""

from __future__ import annotations

import asyncio
from typing import Final

from aoi_events.bootstrap.settings import load_settings
from aoi_events.broker.open import open_broker
from aoi_events.cli.output import console, fail
from aoi_events.cli.store import checked_store
from aoi_events.errors import ConfigurationError
from aoi_events.services.runtime.parking import Replayed, replay, replayable

_REPLAY_WITHIN: Final = 15.0
"""Seconds that a person waits until workers have handled the messages."""


def replay_parked(identifiers: list[str]) -> None:
    """Let workers handle parked messages again; those that were not handled stay parked."""

    async def run() -> Replayed:
        settings = load_settings()
        if settings.in_process:
            raise ConfigurationError("AOI_BROKER is memory://: there is no queue to replay into")
        async with checked_store() as store:
            good, refused = await replayable(store, identifiers)
            if not good:
                return Replayed((), refused)
            broker = await open_broker(settings.broker.get_secret_value(), name="aoi dead replay")
            try:
                return await replay(store, broker, identifiers, within=_REPLAY_WITHIN)
            finally:
                await broker.close()

    replayed = asyncio.run(run())
    if replayed.done:
        console.print(f"replayed {len(replayed.done)}")
    if replayed.kept:
        fail("; ".join(f"{id_} stays parked: {why}" for id_, why in replayed.kept.items()))
