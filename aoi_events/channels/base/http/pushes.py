"""The body of a push: the contract that a device reads. Pure."""

from __future__ import annotations

from typing import Final

from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem
from aoi_events.contracts.push import PushedChallenge, PushedNotification, PushedWakeUp, PushFrame

_NO_NAMES: Final = dict.fromkeys(("notification", "application", "instance"))


def pushed(item: DeliverItem | ChallengeItem, *, with_names: bool) -> PushFrame:
    """The push of an item; ``with_names``: with notification, application and instance."""
    if isinstance(item, ChallengeItem):
        return PushedChallenge(channel=item.channel, code=item.code, expires_at=item.expires_at)
    kind = PushedWakeUp if item.wake_up else PushedNotification
    push = kind.model_validate(item, from_attributes=True)
    return push if with_names else push.model_copy(update=_NO_NAMES)
