"""Names of states, evidence and reasons: stable codes for programs.

Sentences for people are made of them where a person reads.
"""

from __future__ import annotations

from enum import StrEnum


class DeliveryState(StrEnum):
    """The state of a delivery. The last five are terminal."""

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
    """The source of the evidence that a delivery was delivered; a device outranks a provider."""

    DEVICE = "device"
    PROVIDER = "provider"


class Reason(StrEnum):
    """Why a delivery failed or a step ended."""

    REASSIGNED = "reassigned"
    """The AOI Client ID was retired: another user has the device now."""
    DEREGISTERED = "deregistered"
    """The client or the application deregistered."""
    UNUSED = "unused"
    """The AOI Client was never used, or silent for very long; its registration expired."""
    NO_SUCH_APPLICATION = "no_such_application"
    """The device says that the app instance is gone; its token was revoked."""
    BACKLOG_FULL = "backlog_full"
    """Too many notifications are stored for the client."""
    PARKED = "parked"
    """A message of it was set aside for a person."""
    NOT_ACKNOWLEDGED = "not_acknowledged"
    """No acknowledgement arrived in time."""
    ROUTE_LOST = "route_lost"
    """The connection that it was sent to is gone."""
    UNREACHABLE = "unreachable"
    """No notification channel could take it."""
    REFUSED = "refused"
    """The provider refused it."""
    UNAVAILABLE = "unavailable"
    """The provider was down, or answered with a fault that may last."""
    COULD_NOT_WAKE = "could_not_wake"
    """The device could not wake the app."""
    DISCARDED = "discarded"
    """The device discarded it: it could not read it, or no app may have it."""


class CloseReason(StrEnum):
    """Why a notification channel was not selected, or was closed."""

    DEACTIVATED = "deactivated"
    """The client deactivated it."""
    NOT_OFFERED = "not_offered"
    """The client's last activation did not offer it."""
    NO_SUCH_CHANNEL = "no_such_channel"
    """This server has no channel of that type."""
    OFFER_REFUSED = "offer_refused"
    """The parameters of the offer are not usable; the detail says which and why."""
    OTHERS_PREFERRED = "others_preferred"
    """Enough channels of its kind were selected before it."""
    TOO_MANY_CHALLENGES = "too_many_challenges"
    """Its address must be proved, and the limit of challenges within an hour is reached."""
    NOT_PROVED = "not_proved"
    """The device did not prove in time that it receives at the address."""
    WRONG_CODES = "wrong_codes"
    """The device sent too many wrong codes back."""
    CHALLENGE_REFUSED = "challenge_refused"
    """The provider refused the challenge; the detail is what it answered."""
    ADDRESS_REFUSED = "address_refused"
    """The provider refused the address for good; the detail is what it answered."""
    TAKEN_OVER = "taken_over"
    """Another client proved the same address."""
