"""The receipts of SMSCs in the terms of the channel port. Pure."""

from __future__ import annotations

from typing import assert_never

from aoi_events.channels.sms.message_states import MessageState
from aoi_events.channels.sms.receipts import SmscReceipt
from aoi_events.channels.sms.spelling import ReceiptIds, compared_digits, spellings
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.providers.message_ids import folded
from aoi_events.ports.channel import Receipt, Spelled


def named(smsc: str, message: str) -> str:
    """The ID of a message that is unique over all SMSCs."""
    return f"{smsc} {message}"


def outcome_of(smsc: str, ids: ReceiptIds, receipt: SmscReceipt, latest: str) -> Receipt:
    """A receipt with a final state, for its step; ``ids`` is the setting of its SMSC, and
    ``latest`` the last ID in a response of it.

    It never closes the channel: a telephone that could not be reached may still have the number.
    """
    detail = f"SMSC receipt {receipt.state.name}"
    if receipt.error:
        detail += f", network error {receipt.error}"
    return Receipt(
        named(smsc, receipt.message_id),
        _kind(receipt.state).value,
        detail,
        spellings=tuple(
            Spelled(how.value, folded(named(smsc, spelled)))
            for how, spelled in spellings(receipt, ids)
        ),
        addresses=tuple(filter(None, map(compared_digits, receipt.addresses))),
        usual=ids if ids in ("decimal", "hexadecimal") else None,
        sure=receipt.marked,
        provider=smsc,
        latest=latest,
    )


def _kind(state: MessageState) -> OutcomeKind:
    match state:
        case MessageState.DELIVERED:
            return OutcomeKind.RECEIPTED
        case MessageState.EXPIRED:
            return OutcomeKind.REFUSED
        case (
            MessageState.DELETED
            | MessageState.UNDELIVERABLE
            | MessageState.REJECTED
            | MessageState.SKIPPED
            # What we do not understand, the receipt of another message would say, too.
            | MessageState.UNKNOWN
        ):
            return OutcomeKind.REJECTED
        case MessageState.SCHEDULED | MessageState.ENROUTE | MessageState.ACCEPTED:
            raise ValueError(f"{state.name} is not final")
        case _:
            assert_never(state)
