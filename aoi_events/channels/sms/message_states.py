"""The states of a message at an SMSC, by their numbers and by the words that SMSCs use. Pure."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final


class MessageState(IntEnum):
    """The state of a message that the SMSC took (SMPP 3.4, 5.2.28; 0 and 9 are of SMPP 5.0)."""

    SCHEDULED = 0
    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8
    SKIPPED = 9

    @property
    def failed(self) -> bool:
        """Whether the telephone will never get the message."""
        return self in _FAILED

    @property
    def final(self) -> bool:
        """Whether the SMSC does not try any more."""
        return self not in _ON_THE_WAY


_ON_THE_WAY: Final = frozenset(
    {MessageState.SCHEDULED, MessageState.ENROUTE, MessageState.ACCEPTED}
)
_FAILED: Final = frozenset(
    {
        MessageState.EXPIRED,
        MessageState.DELETED,
        MessageState.UNDELIVERABLE,
        MessageState.REJECTED,
        MessageState.SKIPPED,
    }
)

STATES: Final = {
    "SCHEDULED": MessageState.SCHEDULED,
    "ENROUTE": MessageState.ENROUTE,
    "DELIVRD": MessageState.DELIVERED,
    "EXPIRED": MessageState.EXPIRED,
    "DELETED": MessageState.DELETED,
    "UNDELIV": MessageState.UNDELIVERABLE,
    "ACCEPTD": MessageState.ACCEPTED,
    "UNKNOWN": MessageState.UNKNOWN,
    "REJECTD": MessageState.REJECTED,
    "SKIPPED": MessageState.SKIPPED,
}
"""The states by their names in the text form."""

# The meaning of every word of a state, by its letters alone, the first that fits: a word that says
# both, such as SUBMIT_FAILED or DELIVERED_TO_NETWORK, is not what it begins like.
_MEANINGS: Final = tuple(
    (re.compile(pattern), state)
    for pattern, state in (
        (r"EXP", MessageState.EXPIRED),
        (r"DELETE", MessageState.DELETED),
        (r"REJ", MessageState.REJECTED),
        (r"SKIP", MessageState.SKIPPED),
        (
            r"UND|N?NACK|ABSENT|BARRED|BLACKLIST|UNREACH|NO(CRED|ROUTE)|.*(FAIL|ERR(?!ED)|UNDEL|NOT(?!IF)|IMPOSS|CANCEL|ABORT|BLOCK|DENIED|INVALID)|.*(?<!SUCCESS)FULL$",
            MessageState.UNDELIVERABLE,
        ),
        (
            r"DELIVERED(TO)?(THE)?(NETWORK|SMSC|OPERATOR|CARRIER|GATEWAY)",
            MessageState.ENROUTE,
        ),
        (
            r"(MESSAGE|SMS)?(DELIVE?RE?D|DE?LI?V?E?RD|DELIV)(SUCCESSFULLY|TO(THE)?(HANDSET|TERMINAL|(TELE)?PHONE|MOBILE))?$",
            MessageState.DELIVERED,
        ),
        (r"(DELIVERY)?(SUCCESS(FULL?)?|SUCCESSFULLYDELIVERED)$", MessageState.DELIVERED),
        (r"SCHED", MessageState.SCHEDULED),
        (r"ACCEPT", MessageState.ACCEPTED),
        (
            r"(DELIVERY|MESSAGE|SMS)?(ENR|BUFF|SEN[DT]|SUBMIT|PEND|QUEUE|A?WAIT|PROCESS|TRANSIT|INPROG|INTRANS|RETRY|DELAY|DEFER|TRANSFER|DISPATCH|FORWARD|RELAY|STORED)",
            MessageState.ENROUTE,
        ),
    )
)


def state_numbered(number: int) -> MessageState:
    """The state of a number; unknown for a number that is none."""
    return MessageState(number) if number in set(MessageState) else MessageState.UNKNOWN


def state_named(word: str) -> MessageState:
    """The state that a word of an SMSC means; unknown for a word that means none."""
    letters = re.sub("[^A-Z]", "", word.upper())
    meanings = (state for pattern, state in _MEANINGS if pattern.match(letters))
    return next(meanings, MessageState.UNKNOWN)
