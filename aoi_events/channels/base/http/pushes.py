"""The body of a push: the contract that a device reads. Pure."""

from __future__ import annotations

from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem
from aoi_events.contracts.push import PushedChallenge, PushedNotification, PushedWakeUp, PushFrame


def pushed(item: DeliverItem | ChallengeItem, *, with_names: bool) -> PushFrame:
    """The push of an item; ``with_names``: with notification, application and instance."""
    if isinstance(item, ChallengeItem):
        return PushedChallenge(channel=item.channel, code=item.code, expires_at=item.expires_at)
    names = (item.notification, item.application, item.instance) if with_names else (None,) * 3
    notification, application, instance = names
    if item.wake_up:
        return PushedWakeUp(
            delivery=item.delivery,
            attempt=item.attempt,
            fingerprint=item.fingerprint,
            urgency=item.urgency,
            expires_at=item.expires_at,
            notification=notification,
            application=application,
            instance=instance,
        )
    return PushedNotification(
        delivery=item.delivery,
        attempt=item.attempt,
        fingerprint=item.fingerprint,
        urgency=item.urgency,
        expires_at=item.expires_at,
        notification=notification,
        application=application,
        instance=instance,
        content=item.content,
    )
