"""Descriptions of wrong values, in words that need no knowledge of the validation library."""

from __future__ import annotations

import re
from typing import Final

_SUBJECT: Final = re.compile(r"^(?:\w+ should |Value error, )")
_DETAIL: Final = re.compile(r", unable to .*$")


def in_words(message: str) -> str:
    """The message of a validation error, to stand after the name of what is wrong.

    "Input should be less than 9" becomes "must be less than 9".
    """
    text = _SUBJECT.sub(lambda found: "must " if "should" in found.group() else "", message)
    return _DETAIL.sub("", text)
