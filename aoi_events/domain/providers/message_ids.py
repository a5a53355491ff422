"""Names of messages at a provider: the provider, where there are several, a space, and its ID."""

from __future__ import annotations


def folded(name: str) -> str:
    """The name with its ID in small letters and without zeros in front: in receipts a provider may
    write an ID in another case, or padded to another length.
    """
    provider, space, message = name.rpartition(" ")
    return f"{provider}{space}{message.lower().lstrip('0') or '0'}"


def of_challenges(provider: str) -> str:
    """The name under which messages with challenges are noted, apart from those of deliveries:
    workers of 0.1.0 take every message of a provider for one of a delivery.
    """
    return f"{provider} challenges"
