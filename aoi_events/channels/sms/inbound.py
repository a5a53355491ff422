"""Messages of an SMSC: receipts go into the queue, all others are acknowledged and ignored."""

from __future__ import annotations

from functools import partial

from aoi_events.channels.sms.connection import Answer
from aoi_events.channels.sms.pdu import Pdu, read_message
from aoi_events.channels.sms.receipt_queue import ReceiptQueue
from aoi_events.channels.sms.receipts import SmscReceipt, read_receipt
from aoi_events.channels.sms.status import OK, PERMANENT_ERROR, QUEUE_FULL
from aoi_events.errors import MalformedPdu
from aoi_events.platform.logs import get_logger

log = get_logger(__name__)


def take_message(receipts: ReceiptQueue, smsc: str, pdu: Pdu, answer: Answer) -> None:
    """Queue the receipt in a ``deliver_sm`` or ``data_sm``, or answer it at once.

    A receipt is acknowledged when it is processed, one that is not final at once; one for which the
    queue has no room is refused, so that the SMSC sends it again.
    """
    try:
        receipt = _receipt_in(smsc, pdu)
    except MalformedPdu as error:
        log.warning("smsc_message_unreadable", smsc=smsc, error=str(error))
        answer(PERMANENT_ERROR)
        return
    if receipt is None or not receipt.state.final:
        answer(OK)
    elif not receipts.put(smsc, receipt, partial(answer, OK)):
        answer(QUEUE_FULL)


def _receipt_in(smsc: str, pdu: Pdu) -> SmscReceipt | None:
    message = read_message(pdu)
    try:
        receipt = read_receipt(message)
    except MalformedPdu as error:
        log.warning("smsc_receipt_unreadable", smsc=smsc, error=str(error))
        return None
    if receipt is None:
        # A message from a telephone: nothing here reads those.
        log.debug("smsc_message_ignored", smsc=smsc)
    return receipt
