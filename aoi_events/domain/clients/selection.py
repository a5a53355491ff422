"""The selection of the offered notification channels that become active (8.1.2, 8.2.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aoi_events.contracts.requests import ActivateChannelsV1, ChannelOffer, Circumstances
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import ChannelTraits, Parameters

_LOW_BATTERY: Final = 15
"""Per cent, at and below which a device spares its battery."""


@dataclass(frozen=True, slots=True)
class SelectionPolicy:
    """How many channels of each kind one client may have active at the same time."""

    connection_oriented: int = 1
    connectionless: int = 3


@dataclass(frozen=True, slots=True)
class ValidOffer:
    """An offer whose parameters the channel's plug-in accepted."""

    offer: ChannelOffer
    traits: ChannelTraits
    parameters: Parameters
    address: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """The offers selected, best first, and why each other type was not."""

    selected: tuple[ValidOffer, ...]
    reasons: Mapping[str, CloseReason]


def select(
    offers: Sequence[ValidOffer], circumstances: Circumstances, policy: SelectionPolicy
) -> Selection:
    """Select the most appropriate set: a connection first, and connectionless channels to fall back
    on.

    A connection costs nothing per message and is acknowledged by the device, so it ranks first;
    only a device that says it has no bearer for one gets it last (it stays selected: connecting
    again needs no new activation). Among the others those come first that use no data of a device
    on a metered bearer or a low battery; then the device's preference decides, then the cost.
    """
    no_bearer = circumstances.bearer == "none"
    battery = circumstances.battery
    sparing = circumstances.metered or (battery is not None and battery <= _LOW_BATTERY)

    def rank(valid: ValidOffer) -> tuple[bool, bool, int, float, str]:
        connection = valid.traits.connection_oriented
        return (
            connection == no_bearer,
            sparing and not connection and valid.traits.uses_data,
            -valid.offer.preference,
            valid.traits.cost,
            valid.offer.type,
        )

    selected: list[ValidOffer] = []
    reasons: dict[str, CloseReason] = {}
    left = {True: policy.connection_oriented, False: policy.connectionless}
    for valid in sorted(offers, key=rank):
        if left[valid.traits.connection_oriented] > 0:
            left[valid.traits.connection_oriented] -= 1
            selected.append(valid)
        else:
            reasons[valid.offer.type] = CloseReason.OTHERS_PREFERRED
    return Selection(tuple(selected), reasons)


def offers_hash(request: ActivateChannelsV1) -> str:
    """A hash that is equal for requests with the same content: detects another body under the same
    number.
    """
    body = request.model_copy(update={"secret": None})
    return hashlib.sha256(body.encode()).hexdigest()
