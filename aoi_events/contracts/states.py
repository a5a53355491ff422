"""Names of states, evidence and reasons, as people and programs see them."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["DeliveryState", "Evidence", "Reason"]


class DeliveryState(StrEnum):
    """Where a delivery stands. The last five are terminal."""

    SENDING = "sending"
    """A step is under way, or waits for its time."""
    STORED = "stored"
    """Nothing can reach the device now; due when it comes back."""
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    REPLACED = "replaced"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the delivery has ended (it may still change to delivered)."""
        return self not in (DeliveryState.SENDING, DeliveryState.STORED)


class Evidence(StrEnum):
    """Who says that a delivery was delivered; a device outranks a provider."""

    DEVICE = "device"
    PROVIDER = "provider"


class Reason(StrEnum):
    """Why a delivery failed or a step ended."""

    REASSIGNED = "reassigned"
    """The AOI Client ID was retired: another user has the device now."""
    DEREGISTERED = "deregistered"
    """The client or the application deregistered."""
    UNUSED = "unused"
    """The AOI Client was never used, or not heard of for very long; its registration expired."""
    NO_SUCH_APPLICATION = "no_such_application"
    """The device says that the app instance is gone; its token was revoked."""
    BACKLOG_FULL = "backlog_full"
    """Too many notifications are stored for the client."""
    PARKED = "parked"
    """A message of it was set aside for a person."""
    NOT_ACKNOWLEDGED = "not_acknowledged"
    """Nobody acknowledged in time."""
    ROUTE_LOST = "route_lost"
    """The connection that it was sent to is gone."""
    UNREACHABLE = "unreachable"
    """No notification channel could take it."""
    REFUSED = "refused"
    """The provider refused it."""
    UNAVAILABLE = "unavailable"
    """The provider was down, and was not asked."""
    COULD_NOT_WAKE = "could_not_wake"
    """The device could not wake the app."""
    DISCARDED = "discarded"
    """The device threw it away: it could not read it, or could give it to nobody."""
