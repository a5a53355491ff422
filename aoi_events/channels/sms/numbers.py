"""Telephone numbers: normalised from offers, and as SMPP addresses. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SEPARATORS: Final = str.maketrans("", "", " -().")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_INTERNATIONAL, _UNKNOWN, _ALPHANUMERIC = 1, 0, 5  # type of number, SMPP 3.4, 5.2.5
_ISDN, _NO_PLAN = 1, 0  # numbering plan, SMPP 3.4, 5.2.6


@dataclass(frozen=True, slots=True)
class SmppAddress:
    """An SMPP address: type of number, numbering plan, digits or letters."""

    ton: int
    npi: int
    value: str


def normalised(number: str) -> str | None:
    """``number`` as ``+`` and 7 to 15 digits (E.164); None if it is no such number.

    Only the full international form is accepted: without its country, a number means a different
    telephone in every network. Separators that people write are removed.
    """
    compact = number.translate(_SEPARATORS) if len(number) <= 32 else ""
    return compact if _E164.fullmatch(compact) else None


def destination(number: str) -> SmppAddress | None:
    """The SMPP address of a normalised number; None for anything else.

    Every address field is checked, because it ends with NUL on the wire: a NUL inside would move
    every field behind it.
    """
    if not _E164.fullmatch(number):
        return None
    return SmppAddress(_INTERNATIONAL, _ISDN, number.removeprefix("+"))


def source(sender: str, ton: int | None = None, npi: int | None = None) -> SmppAddress:
    """The SMPP address of the configured sender: +E.164, a short code or a name.

    ``ton`` and ``npi`` replace the type of number and the numbering plan that fit its form.
    """
    if sender.startswith("+"):
        fits = SmppAddress(_INTERNATIONAL, _ISDN, sender.removeprefix("+"))
    elif sender.isdigit():
        fits = SmppAddress(_UNKNOWN, _ISDN, sender)
    else:
        fits = SmppAddress(_ALPHANUMERIC, _NO_PLAN, sender)
    return SmppAddress(
        fits.ton if ton is None else ton, fits.npi if npi is None else npi, fits.value
    )
